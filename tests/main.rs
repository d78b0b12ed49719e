//! The one integration binary: behaviour through the front door.

mod support;

mod crash;
mod days;
mod journey;
mod layering;
mod refusals;
