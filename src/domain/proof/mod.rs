//! What makes a score a proof: its inputs in bytes that never change, in a tree whose root is signed, and the checks that anybody can repeat. Must
//! not know how anything is stored or served. `data/proof-format.md` says the same for those who write a verifier of their own.

pub mod canonical;
pub mod check;
pub mod document;
pub mod head;
pub mod leaf;
pub mod merkle;
pub mod receipt;
pub mod succession;
pub mod text;
pub mod window;

pub use merkle::Hash;
