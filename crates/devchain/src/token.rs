//! Circle's USDC behind its proxy, and Multicall3, at the addresses that clients know.

use crate::{
    Account, BUYER_FUNDS, CHAIN, DevchainError, FIRST_BUYER, MULTICALL3, USDC,
    artifacts::Artifacts,
    chain::{call, calls},
    npm::Installed,
};
use alloy_primitives::{Address, B256, Bytes, U64, U256, address, b256};
use alloy_sol_types::{SolCall, SolValue, eip712_domain, sol};
use obol_evm::Rpc;
use serde_json::{Value, json};

sol! {
    interface FiatToken {
        function initialize(
            string tokenName, string tokenSymbol, string tokenCurrency, uint8 tokenDecimals,
            address newMasterMinter, address newPauser, address newBlacklister, address newOwner
        );
        function initializeV2(string newName);
        function initializeV2_1(address lostAndFound);
        function initializeV2_2(address[] accountsToBlacklist, string newSymbol);
        function configureMinter(address minter, uint256 minterAllowedAmount) returns (bool);
        function mint(address to, uint256 amount) returns (bool);
        function blacklist(address account);
        function unBlacklist(address account);
        function pause();
        function unpause();

        function name() returns (string);
        function version() returns (string);
        function symbol() returns (string);
        function decimals() returns (uint8);
        function DOMAIN_SEPARATOR() returns (bytes32);
        function balanceOf(address account) returns (uint256);

        event Transfer(address indexed from, address indexed to, uint256 value);
        event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
        event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);
    }
}

/// Owner, minter, pauser and blacklister of the token. Nobody has its key; anvil lets it send.
pub(crate) const OPERATOR: Address = address!("000000000000000000000000000000000b01c1c1");
/// The proxy answers its admin with its own functions, so the operator cannot be the admin.
const PROXY_ADMIN: Address = address!("000000000000000000000000000000000b01ad31");
const IMPLEMENTATION: Address = address!("000000000000000000000000000000000b01c0de");
const CHECKER: Address = address!("000000000000000000000000000000000b01c4ec");

/// keccak256 of `org.zeppelinos.proxy.admin` and `org.zeppelinos.proxy.implementation`: where
/// Circle's proxy, older than EIP-1967, keeps them.
const ADMIN_SLOT: B256 = b256!("10d6a54a4754c8869d6886b5f5d7fbfa5b4522237ea5c60d11bc4e7a1ff9390b");
const IMPLEMENTATION_SLOT: B256 = b256!("7050c9e0f4ca769c69bd3a8ef740bc37934f8e2c036e5a723fd8ee048ed3f8c3");

/// More than any call of the set-up burns; stated so that anvil estimates nothing.
const GAS: u64 = 500_000;

/// Wei per gas, all of it tip: whoever pays less comes later in the block. Half of what a settler may pay:
/// the node suggests it to others afterwards.
const FEE: u64 = 50_000_000_000;

/// Places the contracts and fills one block with what Circle's deployment does, then two empty
/// ones, so that `finalized` already sees the token. Mining must be off or by interval.
pub(crate) async fn place(
    rpc: &Rpc,
    packages: &Installed,
    accounts: &[Account],
) -> Result<(), DevchainError> {
    let parts = Artifacts::read(packages, CHECKER)?;
    // Creating a contract by `eth_call` answers with the code that would be deployed.
    let multicall: Bytes =
        call(rpc, "eth_call", json!([{ "data": parts.multicall_creation }, "latest"])).await?;
    calls::<Value>(
        rpc,
        [
            ("anvil_setCode", json!([IMPLEMENTATION, parts.token])),
            ("anvil_setCode", json!([CHECKER, parts.checker])),
            ("anvil_setCode", json!([USDC, parts.proxy])),
            ("anvil_setCode", json!([MULTICALL3, multicall])),
            ("anvil_setStorageAt", json!([USDC, ADMIN_SLOT, PROXY_ADMIN.into_word()])),
            ("anvil_setStorageAt", json!([USDC, IMPLEMENTATION_SLOT, IMPLEMENTATION.into_word()])),
            ("anvil_setBalance", json!([OPERATOR, U256::from(10).pow(U256::from(24))])),
            ("anvil_impersonateAccount", json!([OPERATOR])),
            ("anvil_setLoggingEnabled", json!([false])),
        ],
    )
    .await?;
    let steps = deployment(accounts).into_iter().enumerate();
    calls::<Value>(
        rpc,
        steps.map(|(nonce, data)| ("eth_sendTransaction", json!([sent(&data, Some(nonce))]))),
    )
    .await?;
    call::<Value>(rpc, "anvil_mine", json!([U64::from(3)])).await?;
    verify(rpc, accounts).await
}

/// A transaction of the operator's to the token, before everybody else's in its block.
pub(crate) fn sent(data: &[u8], nonce: Option<usize>) -> Value {
    let mut transaction = json!({
        "from": OPERATOR, "to": USDC, "gas": U256::from(GAS), "data": Bytes::copy_from_slice(data),
        "maxFeePerGas": U64::from(FEE), "maxPriorityFeePerGas": U64::from(FEE),
    });
    if let Some(nonce) = nonce {
        transaction["nonce"] = json!(U256::from(nonce));
    }
    transaction
}

fn deployment(accounts: &[Account]) -> Vec<Vec<u8>> {
    let text = str::to_owned;
    let initialize = FiatToken::initializeCall {
        tokenName: text("USDC"),
        tokenSymbol: text("USDC"),
        tokenCurrency: text("USD"),
        tokenDecimals: 6,
        newMasterMinter: OPERATOR,
        newPauser: OPERATOR,
        newBlacklister: OPERATOR,
        newOwner: OPERATOR,
    };
    let symbol = FiatToken::initializeV2_2Call { accountsToBlacklist: vec![], newSymbol: text("USDC") };
    let minter = FiatToken::configureMinterCall { minter: OPERATOR, minterAllowedAmount: U256::MAX };
    let mut steps = vec![
        initialize.abi_encode(),
        FiatToken::initializeV2Call { newName: text("USDC") }.abi_encode(),
        FiatToken::initializeV2_1Call { lostAndFound: OPERATOR }.abi_encode(),
        symbol.abi_encode(),
        minter.abi_encode(),
    ];
    let amount = U256::from(BUYER_FUNDS);
    steps.extend(
        accounts
            .iter()
            .skip(FIRST_BUYER)
            .map(|buyer| FiatToken::mintCall { to: buyer.address, amount }.abi_encode()),
    );
    steps
}

/// Reads back what clients and the ledger depend on: a set-up transaction that reverted would
/// otherwise be found out much later.
async fn verify(rpc: &Rpc, accounts: &[Account]) -> Result<(), DevchainError> {
    let domain = eip712_domain! {
        name: "USDC",
        version: "2",
        chain_id: CHAIN.reference(),
        verifying_contract: USDC,
    };
    let mut questions = vec![
        ask("name", FiatToken::nameCall {}, "USDC"),
        ask("version", FiatToken::versionCall {}, "2"),
        ask("symbol", FiatToken::symbolCall {}, "USDC"),
        ask("decimals", FiatToken::decimalsCall {}, &6),
        ask("DOMAIN_SEPARATOR", FiatToken::DOMAIN_SEPARATORCall {}, &domain.separator()),
    ];
    for (index, &Account { address: account, .. }) in accounts.iter().enumerate() {
        let funds = if index < FIRST_BUYER { 0 } else { BUYER_FUNDS };
        let what = format!("the balance of account {index}");
        questions.push(ask(what, FiatToken::balanceOfCall { account }, &U256::from(funds)));
    }
    let found: Vec<Bytes> = calls(rpc, questions.iter().map(|question| reading(&question.data))).await?;
    for (Question { what, expected, .. }, found) in questions.into_iter().zip(found) {
        if found != expected {
            return Err(DevchainError::Token { what, found, expected });
        }
    }
    Ok(())
}

struct Question {
    what: String,
    data: Vec<u8>,
    expected: Bytes,
}

fn ask<C: SolCall>(what: impl Into<String>, call: C, expected: &(impl SolValue + ?Sized)) -> Question {
    Question { what: what.into(), data: call.abi_encode(), expected: expected.abi_encode().into() }
}

pub(crate) fn reading(data: &[u8]) -> (&'static str, Value) {
    ("eth_call", json!([{ "to": USDC, "data": Bytes::copy_from_slice(data) }, "latest"]))
}
