use crate::{Asset, Chain, ChainId, Domain, Finality, TransferMethod};
use alloy_primitives::{Address, address};
use std::sync::Arc;

/// The chains and assets that offers may name: the built-in tables and what configuration adds.
#[derive(Clone, Debug)]
pub struct Registry {
    chains: Vec<Arc<Chain>>,
    assets: Vec<Arc<Asset>>,
}

/// A chain that nobody configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown chain {name:?}; known: {known}")]
pub struct UnknownChain {
    pub name: String,
    pub known: String,
}

/// An asset that nobody configured on a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown asset {asset:?} on {chain}; known there: {known}")]
pub struct UnknownAsset {
    pub asset: String,
    pub chain: ChainId,
    pub known: String,
}

/// Why a configured asset cannot join the registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssetError {
    #[error(transparent)]
    Chain(#[from] UnknownChain),
    #[error("the asset's address is the zero address")]
    ZeroAddress,
}

struct Row {
    id: u64,
    name: &'static str,
    aliases: &'static [&'static str],
    v1_name: Option<&'static str>,
    block_millis: u64,
    op_stack: bool,
}

const fn row(id: u64, name: &'static str, block_millis: u64) -> Row {
    Row { id, name, aliases: &[], v1_name: None, block_millis, op_stack: false }
}

const CHAINS: &[Row] = &[
    Row { aliases: &["base-mainnet"], v1_name: Some("base"), op_stack: true, ..row(8453, "base", 2_000) },
    Row { v1_name: Some("base-sepolia"), op_stack: true, ..row(84532, "base-sepolia", 2_000) },
    Row { aliases: &["ethereum-mainnet", "mainnet"], ..row(1, "ethereum", 12_000) },
    Row { aliases: &["polygon-mainnet"], v1_name: Some("polygon"), ..row(137, "polygon", 2_000) },
    Row { v1_name: Some("polygon-amoy"), ..row(80002, "polygon-amoy", 2_000) },
    Row { aliases: &["avalanche-mainnet"], v1_name: Some("avalanche"), ..row(43114, "avalanche", 2_000) },
    Row { v1_name: Some("avalanche-fuji"), ..row(43113, "avalanche-fuji", 2_000) },
    Row { aliases: &["arbitrum"], ..row(42161, "arbitrum-one", 1_000) },
    row(421614, "arbitrum-sepolia", 1_000),
    row(143, "monad", 1_000),
    row(10143, "monad-testnet", 1_000),
    Row { op_stack: true, ..row(42220, "celo", 1_000) },
    Row { op_stack: true, ..row(11142220, "celo-sepolia", 1_000) },
    Row { v1_name: Some("sei"), ..row(1329, "sei", 1_000) },
    Row { v1_name: Some("sei-testnet"), ..row(1328, "sei-testnet", 1_000) },
    row(50, "xdc", 2_000),
    row(51, "xdc-apothem", 2_000),
    row(36900, "adi", 2_000),
    Row { op_stack: true, ..row(190415, "hpp", 2_000) },
    Row { op_stack: true, ..row(181228, "hpp-sepolia", 2_000) },
    row(988, "stable", 1_000),
    row(2201, "stable-testnet", 1_000),
    row(14, "flare", 2_000),
    Row { op_stack: true, ..row(4326, "megaeth", 1_000) },
    row(31612, "mezo", 4_000),
    row(31611, "mezo-testnet", 4_000),
    row(723487, "radius", 1_000),
    row(72344, "radius-testnet", 1_000),
    row(38833, "chain-38833", 2_000),
    row(5042, "arc", 1_000),
    row(5042002, "arc-testnet", 1_000),
];

use TransferMethod::{Eip3009, Permit2};

/// Chain, address, symbol, decimals, domain name, domain version, method. The first asset of
/// a chain is its default.
type AssetRow = (u64, Address, &'static str, u8, &'static str, &'static str, TransferMethod);

const ASSETS: &[AssetRow] = &[
    (8453, address!("833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"), "USDC", 6, "USD Coin", "2", Eip3009),
    (84532, address!("036CbD53842c5426634e7929541eC2318f3dCF7e"), "USDC", 6, "USDC", "2", Eip3009),
    (1, address!("A0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"), "USDC", 6, "USD Coin", "2", Eip3009),
    (43114, address!("B97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E"), "USDC", 6, "USD Coin", "2", Eip3009),
    (137, address!("3c499c542cEF5E3811e1192ce70d8cC03d5c3359"), "USDC", 6, "USD Coin", "2", Eip3009),
    (42161, address!("af88d065e77c8cC2239327C5EDb3A432268e5831"), "USDC", 6, "USD Coin", "2", Eip3009),
    (421614, address!("75faf114eafb1BDbe2F0316DF893fd58CE46AA4d"), "USDC", 6, "USD Coin", "2", Eip3009),
    (143, address!("754704Bc059F8C67012fEd69BC8A327a5aafb603"), "USDC", 6, "USDC", "2", Eip3009),
    (42220, address!("cebA9300f2b948710d2653dD7B07f33A8B32118C"), "USDC", 6, "USDC", "2", Eip3009),
    (11142220, address!("01C5C0122039549AD1493B8220cABEdD739BC44E"), "USDC", 6, "USDC", "2", Eip3009),
    (1329, address!("e15fC38F6D8c56aF07bbCBe3BAf5708A2Bf42392"), "USDC", 6, "USDC", "2", Eip3009),
    (1328, address!("4fCF1784B31630811181f670Aea7A7bEF803eaED"), "USDC", 6, "USDC", "2", Eip3009),
    (50, address!("fA2958CB79b0491CC627c1557F441eF849Ca8eb1"), "USDC", 6, "USDC", "2", Eip3009),
    (51, address!("b5AB69F7bBada22B28e79C8FFAECe55eF1c771D4"), "USDC", 6, "USDC", "2", Eip3009),
    (36900, address!("9cb8142aEBBcdc60AF7c97Af897A67A8f3CA71C2"), "USDC.e", 6, "USDC.e", "2", Eip3009),
    (190415, address!("401eCb1D350407f13ba348573E5630B83638E30D"), "USDC.e", 6, "Bridged USDC", "2", Eip3009),
    (181228, address!("401eCb1D350407f13ba348573E5630B83638E30D"), "USDC.e", 6, "Bridged USDC", "2", Eip3009),
    (988, address!("779Ded0c9e1022225f8E0630b35a9b54bE713736"), "USDT0", 6, "USDT0", "1", Eip3009),
    (2201, address!("78Cf24370174180738C5B8E352B6D14c83a6c9A9"), "USDT0", 6, "USDT0", "1", Eip3009),
    (14, address!("e7cd86e13AC4309349F30B3435a9d337750fC82D"), "USD₮0", 6, "USD₮0", "1", Eip3009),
    (4326, address!("FAfDdbb3FC7688494971a79cc65DCa3EF82079E7"), "USDM", 18, "MegaUSD", "1", Permit2),
    (31612, address!("dD468A1DDc392dcdbEf6db6e34E89AA338F9F186"), "MUSD", 18, "Mezo USD", "1", Permit2),
    (31611, address!("118917a40FAF1CD7a13dB0Ef56C86De7973Ac503"), "MUSD", 18, "Mezo USD", "1", Permit2),
    (723487, address!("33ad9e4BD16B69B5BFdED37D8B5D9fF9aba014Fb"), "SBC", 6, "Stable Coin", "1", Permit2),
    (72344, address!("33ad9e4BD16B69B5BFdED37D8B5D9fF9aba014Fb"), "SBC", 6, "Stable Coin", "1", Permit2),
    (38833, address!("A5b8BF902b2844dA17d4506cc827F7F1681735E7"), "USDC", 6, "USDC", "1", Permit2),
    (10143, address!("534b2f3A21130d7a60830c2Df862319e593943A3"), "USDC", 6, "USDC", "2", Eip3009),
    (5042, address!("3600000000000000000000000000000000000000"), "USDC", 6, "USDC", "2", Eip3009),
    (5042002, address!("3600000000000000000000000000000000000000"), "USDC", 6, "USDC", "2", Eip3009),
    (43113, address!("5425890298aed601595a70AB815c96711a31Bc65"), "USDC", 6, "USD Coin", "2", Eip3009),
    (80002, address!("41E94Eb019C0762f9Bfcf9Fb1E58725BfB0e7582"), "USDC", 6, "USDC", "2", Eip3009),
    (1, address!("0B010000b7624eb9B3DfBC279673C76E9D29D5F7"), "OBOL", 18, "Obol Network", "1", Permit2),
    (84532, address!("0a09371a8b011d5110656ceBCc70603e53FD2c78"), "OBOL", 18, "Obol Network", "1", Permit2),
];

impl Default for Registry {
    fn default() -> Self {
        Self::built_in()
    }
}

impl Registry {
    pub fn built_in() -> Self {
        let chains = CHAINS.iter().map(|row| {
            Arc::new(Chain {
                id: ChainId::new(row.id),
                name: row.name.to_owned(),
                aliases: row.aliases.iter().map(|&alias| alias.to_owned()).collect(),
                v1_name: row.v1_name.map(str::to_owned),
                finality: Finality::Finalized,
                block_millis: row.block_millis,
                op_stack: row.op_stack,
            })
        });
        let assets = ASSETS.iter().map(|&(chain, address, symbol, decimals, name, version, method)| {
            Arc::new(Asset {
                chain: ChainId::new(chain),
                address,
                symbol: symbol.to_owned(),
                decimals,
                domain: Domain { name: name.to_owned(), version: version.to_owned() },
                method,
            })
        });
        Self { chains: chains.collect(), assets: assets.collect() }
    }

    /// Adds a chain, or replaces the one with the same id.
    pub fn add_chain(&mut self, chain: Chain) {
        self.chains.retain(|known| known.id != chain.id);
        self.chains.push(Arc::new(chain));
    }

    /// Adds an asset, or replaces the one at the same address of the same chain.
    pub fn add_asset(&mut self, asset: Asset) -> Result<(), AssetError> {
        self.chain_by_id(asset.chain)?;
        if asset.address.is_zero() {
            return Err(AssetError::ZeroAddress);
        }
        self.assets.retain(|known| (known.chain, known.address) != (asset.chain, asset.address));
        self.assets.push(Arc::new(asset));
        Ok(())
    }

    pub fn chains(&self) -> impl Iterator<Item = &Arc<Chain>> {
        self.chains.iter()
    }

    pub fn assets(&self) -> impl Iterator<Item = &Arc<Asset>> {
        self.assets.iter()
    }

    /// Finds a chain by canonical name, alias or CAIP-2 id, in any case.
    pub fn chain(&self, name: &str) -> Result<&Arc<Chain>, UnknownChain> {
        self.chains.iter().find(|chain| chain.is_called(name)).ok_or_else(|| self.unknown(name.to_owned()))
    }

    pub fn chain_by_id(&self, id: ChainId) -> Result<&Arc<Chain>, UnknownChain> {
        self.chains.iter().find(|chain| chain.id == id).ok_or_else(|| self.unknown(id.to_string()))
    }

    /// The asset that an offer on this chain means when it names none: the chain's first.
    pub fn default_asset(&self, chain: ChainId) -> Result<&Arc<Asset>, UnknownAsset> {
        self.assets
            .iter()
            .find(|asset| asset.chain == chain)
            .ok_or_else(|| self.unknown_asset("default", chain))
    }

    pub fn asset_at(&self, chain: ChainId, address: Address) -> Result<&Arc<Asset>, UnknownAsset> {
        self.assets
            .iter()
            .find(|asset| asset.chain == chain && asset.address == address)
            .ok_or_else(|| self.unknown_asset(&address.to_checksum(None), chain))
    }

    pub fn asset_by_symbol(&self, chain: ChainId, symbol: &str) -> Result<&Arc<Asset>, UnknownAsset> {
        self.assets
            .iter()
            .find(|asset| asset.chain == chain && asset.symbol.eq_ignore_ascii_case(symbol))
            .ok_or_else(|| self.unknown_asset(symbol, chain))
    }

    /// What an asset is called where one word has to tell it from all others of its chain: its symbol,
    /// with the address when an earlier asset has the same.
    pub fn label(&self, asset: &Asset) -> String {
        let mut namesakes =
            self.assets.iter().filter(|known| known.chain == asset.chain && known.symbol == asset.symbol);
        match namesakes.next() {
            Some(first) if first.address != asset.address => format!("{}@{}", asset.symbol, asset.address),
            _ => asset.symbol.clone(),
        }
    }

    fn unknown(&self, name: String) -> UnknownChain {
        let known: Vec<_> =
            self.chains.iter().map(|chain| format!("{} ({})", chain.name, chain.id)).collect();
        UnknownChain { name, known: known.join(", ") }
    }

    fn unknown_asset(&self, asset: &str, chain: ChainId) -> UnknownAsset {
        let known: Vec<_> = self
            .assets
            .iter()
            .filter(|asset| asset.chain == chain)
            .map(|asset| format!("{} ({})", asset.symbol, asset.address.to_checksum(None)))
            .collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        UnknownAsset { asset: asset.to_owned(), chain, known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_aliases_and_ids_resolve_in_any_case() {
        let registry = Registry::built_in();
        for name in ["base-sepolia", "BASE-Sepolia", "eip155:84532", "EIP155:84532"] {
            assert_eq!(registry.chain(name).expect(name).id, ChainId::new(84532));
        }
        for name in ["mainnet", "Ethereum-Mainnet", "ethereum", "eip155:1"] {
            assert_eq!(registry.chain(name).expect(name).id, ChainId::new(1));
        }
    }

    #[test]
    fn an_unknown_chain_is_refused_with_the_known_ones() {
        let error = Registry::built_in().chain("eip155:424242").expect_err("unknown").to_string();
        assert!(error.contains("eip155:424242") && error.contains("base-sepolia (eip155:84532)"), "{error}");
    }

    #[test]
    fn no_two_chains_share_a_name_and_every_asset_has_a_chain() {
        let registry = Registry::built_in();
        for chain in registry.chains() {
            let namesakes = registry.chains().filter(|other| other.is_called(&chain.name)).count();
            assert_eq!(namesakes, 1, "{}", chain.name);
        }
        for asset in registry.assets() {
            registry.chain_by_id(asset.chain).expect("its chain");
        }
    }

    #[test]
    fn the_default_asset_of_base_sepolia_is_usdc_with_the_domain_clients_know() {
        let registry = Registry::built_in();
        let asset = registry.default_asset(ChainId::new(84532)).expect("USDC");
        assert_eq!((asset.symbol.as_str(), asset.domain.name.as_str()), ("USDC", "USDC"));
    }

    #[test]
    fn configuration_adds_chains_and_assets_and_refuses_nonsense() {
        let mut registry = Registry::built_in();
        let local = Chain {
            id: ChainId::new(31337),
            name: "local".to_owned(),
            aliases: vec![],
            v1_name: None,
            finality: Finality::Depth(0),
            block_millis: 1_000,
            op_stack: false,
        };
        let token = Asset {
            chain: local.id,
            address: Address::repeat_byte(7),
            symbol: "TEST".to_owned(),
            decimals: 6,
            domain: Domain { name: "Test".to_owned(), version: "1".to_owned() },
            method: Eip3009,
        };
        assert!(matches!(registry.add_asset(token.clone()), Err(AssetError::Chain(_))));
        registry.add_chain(local);
        assert_eq!(
            registry.add_asset(Asset { address: Address::ZERO, ..token.clone() }),
            Err(AssetError::ZeroAddress)
        );
        registry.add_asset(token).expect("valid");
        assert_eq!(registry.asset_by_symbol(ChainId::new(31337), "test").expect("added").decimals, 6);
    }

    #[test]
    fn no_two_assets_of_a_chain_have_one_label() {
        let mut registry = Registry::built_in();
        let usdc = Asset::clone(registry.default_asset(ChainId::new(84532)).expect("USDC"));
        let namesake = Asset { address: Address::repeat_byte(7), ..usdc.clone() };
        registry.add_asset(namesake.clone()).expect("valid");
        assert_eq!(registry.label(&usdc), "USDC");
        assert_eq!(registry.label(&namesake), format!("USDC@{}", namesake.address));
    }
}
