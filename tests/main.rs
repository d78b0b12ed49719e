//! The one integration binary: behaviour through the front door.

mod support;

mod days;
mod journey;
mod layering;
mod openapi;
