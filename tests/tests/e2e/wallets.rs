//! Payers that are contracts: ERC-1271 wallets, wallets that are yet to be deployed (ERC-6492),
//! and wallets that lie.

use alloy_primitives::{Address, B256, Bytes, U256, address, hex, keccak256};
use alloy_sol_types::SolValue;
use anyhow::Result;
use obol_core::{Amount, Payment, Reason};
use obol_devchain::{Devchain, Options};
use obol_evm::Rpc;
use obol_ledger::{Reservation, State};
use obol_tests::{Buyer, Seller, SellerOptions};
use std::time::Duration;

/// The deterministic deployer that most chains have, anvil too: salt, then init code.
const FACTORY: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");

/// Says yes to every signature.
const YES: &[u8] = &hex!("631626ba7e60e01b5f5260205ff3");

/// Says yes while gas costs nothing, which is to say while it is only being simulated.
const YES_FOR_FREE: &[u8] = &hex!("3a15631626ba7e0260e01b5f5260205ff3");

/// Init code that leaves this runtime code behind.
fn init_code(runtime: &[u8]) -> Vec<u8> {
    let size = u8::try_from(runtime.len()).expect("at most 32 bytes");
    let mut code = vec![0x5f + size];
    code.extend_from_slice(runtime);
    code.extend_from_slice(&[0x5f, 0x52, 0x60, size, 0x60, 32 - size, 0xf3]);
    code
}

struct Wallet {
    address: Address,
    factory_data: Bytes,
}

fn wallet(salt: u8) -> Wallet {
    let (salt, init) = (B256::repeat_byte(salt), init_code(YES));
    Wallet {
        address: FACTORY.create2(salt, keccak256(&init)),
        factory_data: [salt.as_slice(), &init].concat().into(),
    }
}

async fn fund(chain: &Devchain, account: Address) -> Result<()> {
    let minted = chain.mint_usdc(account, Amount::from(1_000_000)).await?;
    chain.mined(minted).await?;
    Ok(())
}

/// A payment by `payer`, whose own code will be asked about `signature`.
fn payment(chain: &Devchain, seller: &Seller, payer: Address, signature: Bytes) -> Payment {
    let anybody = Buyer::of(chain.buyers()[0]);
    let mut authorization = anybody.authorize(&seller.requirement);
    authorization.from = payer;
    Payment { signature, ..anybody.sign(&seller.requirement, authorization) }
}

fn wrapped(wallet: &Wallet) -> Bytes {
    let inner = Bytes::from_static(&[1; 70]);
    let mut signature = (FACTORY, wallet.factory_data.clone(), inner).abi_encode_params();
    signature.extend_from_slice(&hex!("6492649264926492649264926492649264926492649264926492649264926492"));
    signature.into()
}

fn open(chain: &Devchain, folder: &tempfile::TempDir, factories: Vec<Address>) -> Result<Seller> {
    let options = SellerOptions { factories, ..SellerOptions::default() };
    Seller::open(chain, chain.url(), &folder.path().join("ledger.db"), options)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployed_wallet_pays_by_its_own_word() -> Result<()> {
    let chain = Devchain::start(Options::default()).await?;
    let folder = tempfile::tempdir()?;
    let seller = open(&chain, &folder, vec![])?;
    let payer = Address::repeat_byte(0x77);
    chain.set_code(payer, &Bytes::from_static(YES)).await?;
    fund(&chain, payer).await?;
    let paid = payment(&chain, &seller, payer, Bytes::from_static(b"whatever the wallet likes"));
    seller.sell(&paid).await?;
    assert_eq!(chain.usdc_balance(chain.seller().address).await?, Amount::from(10_000));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_of_an_unknown_factory_is_refused_and_nothing_is_called() -> Result<()> {
    let chain = Devchain::start(Options::default()).await?;
    let folder = tempfile::tempdir()?;
    let seller = open(&chain, &folder, vec![Address::repeat_byte(9)])?;
    let wallet = wallet(1);
    fund(&chain, wallet.address).await?;
    let paid = payment(&chain, &seller, wallet.address, wrapped(&wallet));
    match seller.reserve(&paid).await? {
        Reservation::Refused(refusal) => assert_eq!(refusal.reason, Reason::FactoryNotAllowed),
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_of_an_allowed_factory_is_deployed_with_its_first_payment_only() -> Result<()> {
    let chain = Devchain::start(Options::default()).await?;
    let rpc = Rpc::new(chain.url(), Duration::from_secs(5))?;
    let folder = tempfile::tempdir()?;
    let seller = open(&chain, &folder, vec![FACTORY])?;
    let wallet = wallet(2);
    fund(&chain, wallet.address).await?;
    assert!(rpc.code(wallet.address).await?.is_empty());
    seller.sell(&payment(&chain, &seller, wallet.address, wrapped(&wallet))).await?;
    assert_eq!(rpc.code(wallet.address).await?, Bytes::from_static(YES));
    seller.sell(&payment(&chain, &seller, wallet.address, wrapped(&wallet))).await?;
    assert_eq!(chain.usdc_balance(chain.seller().address).await?, Amount::from(20_000));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_somebody_deploys_between_verify_and_settle_still_pays() -> Result<()> {
    let chain = Devchain::start(Options::default()).await?;
    let folder = tempfile::tempdir()?;
    let seller = open(&chain, &folder, vec![FACTORY])?;
    let wallet = wallet(3);
    fund(&chain, wallet.address).await?;
    let paid = payment(&chain, &seller, wallet.address, wrapped(&wallet));
    let Reservation::Granted(held) = seller.reserve(&paid).await? else { panic!("not granted") };
    chain.set_code(wallet.address, &Bytes::from_static(YES)).await?;
    let owed = seller.owe(held).await?;
    let outcome = seller.outcome(&owed).await?;
    assert!(matches!(outcome, obol_ledger::Outcome::Paid(_)), "{outcome:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_lies_in_simulations_costs_gas_once_and_is_not_taken_again() -> Result<()> {
    let chain = Devchain::start(Options::default()).await?;
    let folder = tempfile::tempdir()?;
    let seller = open(&chain, &folder, vec![])?;
    let payer = Address::repeat_byte(0x78);
    chain.set_code(payer, &Bytes::from_static(YES_FOR_FREE)).await?;
    fund(&chain, payer).await?;
    let lie = payment(&chain, &seller, payer, Bytes::from_static(b"yes"));
    let Reservation::Granted(held) = seller.reserve(&lie).await? else { panic!("not granted") };
    let id = held.id();
    seller.owe(held).await?;
    let missed = async {
        loop {
            let record = seller.ledger.payment(id).await?.expect("stored");
            if record.misses > 0 {
                return anyhow::Ok(record);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let record = tokio::time::timeout(Duration::from_secs(10), missed).await??;
    assert_eq!(record.state(), State::Due);
    let another = payment(&chain, &seller, payer, Bytes::from_static(b"yes again"));
    match seller.reserve(&another).await? {
        Reservation::Refused(refusal) => assert_eq!(refusal.reason, Reason::SimulationFailed),
        other => panic!("{other:?}"),
    }
    assert_eq!(chain.usdc_balance(chain.seller().address).await?.atomic(), U256::ZERO);
    Ok(())
}
