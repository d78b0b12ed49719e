//! Which TRON network: its first block, which its name stands for, and its USDT.

use crate::crypto;
use crate::domain::address::TronAddress;
use crate::domain::ledger::Settlement;

/// Id of a block: its number in eight bytes, then the rest of its hash.
pub type BlockId = [u8; 32];

/// A name, the id of the first block (`/wallet/getblockbynum {"num":0}`), and the address of USDT there.
const KNOWN: [(&str, &str, &str); 3] = [
    ("mainnet", "00000000000000001ebf88508a03865c71d452e25f4d51194196a1d22b6653dc", "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"),
    ("nile", "0000000000000000d698d4192c56cb6be724a558448e2684802de4d6cd8690dc", "TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf"),
    ("shasta", "0000000000000000de1aa88295e1fcf982742f773e0419c5a9c134c994a9059e", "TG3XXyExBkPp9nzdajDZsozEu4BkaSJozs"),
];

/// A network, by the id of its first block: signatures carry no other sign of where they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    genesis: BlockId,
}

impl Network {
    /// `mainnet`, `nile` or `shasta`.
    pub fn named(name: &str) -> Option<Network> {
        KNOWN.iter().find(|(known, ..)| *known == name).and_then(|(_, genesis, _)| Network::with_genesis(genesis))
    }

    /// By its first block's id, 64 hex digits.
    pub fn with_genesis(id: &str) -> Option<Network> {
        Some(Network { genesis: crypto::unhex(id)?.try_into().ok()? })
    }

    pub fn genesis(&self) -> &BlockId {
        &self.genesis
    }

    /// What an attempt's pin calls it.
    pub fn id(&self) -> String {
        crypto::hex(&self.genesis)
    }

    /// A name where it has one, for people.
    pub fn name(&self) -> &'static str {
        KNOWN.iter().find(|(_, genesis, _)| *genesis == self.id()).map_or("private", |(name, ..)| name)
    }

    /// None for a private network: whoever runs it says where its token is.
    pub fn usdt(&self) -> Option<TronAddress> {
        let (.., contract) = KNOWN.iter().find(|(_, genesis, _)| *genesis == self.id())?;
        TronAddress::parse(contract).ok()
    }

    /// Money of every network but the mainnet is play money.
    pub fn settlement(&self) -> Settlement {
        if self.name() == "mainnet" { Settlement::Live } else { Settlement::Simulated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_for_the_first_block_that_the_documentation_ends_in() {
        for (name, ending) in [("mainnet", "2b6653dc"), ("nile", "cd8690dc"), ("shasta", "94a9059e")] {
            let network = Network::named(name).unwrap();
            assert!(network.id().ends_with(ending) && network.id().starts_with("0000000000000000"), "{name}");
            assert_eq!((network.name(), network.usdt().is_some()), (name, true));
            assert_eq!(network.settlement() == Settlement::Live, name == "mainnet");
        }
        let private = Network::with_genesis(&"07".repeat(32)).unwrap();
        assert_eq!((private.name(), private.usdt(), private.settlement()), ("private", None, Settlement::Simulated));
        assert_eq!((Network::named("private"), Network::with_genesis("07")), (None, None));
    }
}
