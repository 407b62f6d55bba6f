//! The id by which operators find a request in logs.

use std::sync::Arc;

pub(super) fn request_id() -> Arc<str> {
    let random = fastrand::u128(..).to_be_bytes();
    let mut text = uuid::Uuid::encode_buffer();
    let id = uuid::Builder::from_random_bytes(random).into_uuid();
    Arc::from(&*id.hyphenated().encode_lower(&mut text))
}
