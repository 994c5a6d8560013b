//! The built binary as operators run it: several of it on one database, killed, stopped, and told to read its configuration
//! again.

mod alone;
mod bad_endpoints;
mod leading;
mod place;
mod quarantined;
mod reloading;
