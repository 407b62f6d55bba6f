//! A client that heeds nothing, against the real binary; for three minutes, in virtual time, in the domain's own tests.
