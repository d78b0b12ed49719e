//! The store on a device that loses power, whose syncs fail, and that is full: nothing that was acknowledged is lost, nothing is there twice.

mod cuts;
mod errors;
