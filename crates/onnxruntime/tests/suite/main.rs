//! Tests with the real library and real models.
//!
//! Where the library or the models are absent a test says so and passes, unless `TRTFORGE_REQUIRE_LIBRARIES=1`.

#![allow(clippy::unwrap_used)]

mod binding;
mod library;
mod machine;
mod networks;
mod observing;
mod optimizing;
mod running;
mod typing;
mod watching;
