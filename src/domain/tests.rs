//! What holds for whatever happens: properties of the parts, and hours of traffic over all of them together.

mod blame;
mod properties;
mod simulation;
