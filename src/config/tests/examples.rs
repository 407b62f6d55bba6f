//! What loads, and that the files in `conf/` do.

use super::*;

#[test]
fn t() {}
