//! A kept body, in the pieces in which an attempt hands it over.

use bytes::Bytes;

/// A body up to this size is handed over whole: one write. A larger one goes in slices, so that an early
/// answer is seen while the body is still on its way. Handing over one takes some microseconds, and a deployment must
/// take one within some seconds.
pub(super) const SLICE: usize = 128 << 10;
/// Pieces up to this size that stand side by side are put together: what stands around a model's name is some bytes.
const SMALL: usize = 1 << 10;

/// One piece if it is small, else pieces of at most a slice; no byte is copied but those of small pieces.
pub(super) fn slices(body: &[Bytes]) -> Vec<Bytes> {
    let length: usize = body.iter().map(Bytes::len).sum();
    match body {
        [] => Vec::new(),
        [whole] if length <= SLICE => vec![whole.clone()],
        pieces if length <= SLICE => vec![pieces.concat().into()],
        pieces => {
            let side_by_side = pieces.chunk_by(|one, next| one.len().max(next.len()) <= SMALL);
            side_by_side.flat_map(joined).collect()
        }
    }
}

fn joined(pieces: &[Bytes]) -> Vec<Bytes> {
    match pieces {
        [one] => cut(one).collect(),
        small => vec![small.concat().into()],
    }
}

fn cut(piece: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    (0..piece.len())
        .step_by(SLICE)
        .map(|start| piece.slice(start..(start + SLICE).min(piece.len())))
}
