//! The external payment service, through the real manager: what it is asked, what is believed of it, and that nothing is ever paid twice.

mod lucid_currency;
mod rules;
mod runs;
mod stop;
mod world;
