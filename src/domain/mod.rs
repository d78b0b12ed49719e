//! The rules of the product: values in, values out. Nothing here awaits, reads a clock, draws randomness or knows
//! how anything is stored or sent.

pub mod audit;
pub mod bits;
pub mod challenge;
pub mod enrolment;
pub mod evidence;
pub mod ids;
pub mod metrics;
pub mod money;
pub mod node;
pub mod pool;
pub mod refusal;
pub mod registration;
pub mod time;
