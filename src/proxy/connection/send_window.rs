//! Room in a client's HTTP/2 windows for bodies that are written past the protocol's own implementation, which would
//! otherwise count on that room and send more than the client allows.
//!
//! Of the first large piece by which a client widens its connection's window a little is kept back: the implementation
//! never hears of it. Clients of little room get no such body. Those of large windows widen them again long before the
//! last bytes are used up, so none waits for what was kept.

/// Kept of a connection's window, in bytes: for as many refusals as Pingora lets a connection have (32), or nearly.
const KEPT: u32 = 8 << 10;
/// What it is kept of: hardly any of that.
const LARGE: u32 = 1 << 20;
/// `SETTINGS_INITIAL_WINDOW_SIZE` (RFC 9113, 6.5.2).
const INITIAL_WINDOW_SIZE: u16 = 4;

#[derive(Default)]
pub(super) struct SendWindow {
    kept: u32,
    has_kept: bool,
    /// A stream may have less room than was kept.
    is_narrow: bool,
}

impl SendWindow {
    /// The client's settings. `is_whole`: these are all of the frame's.
    pub(super) fn settings(&mut self, payload: &[u8], is_whole: bool) {
        let (settings, _) = payload.as_chunks::<6>();
        let is_small = settings.iter().any(|[id @ .., a, b, c, d]| {
            u16::from_be_bytes(*id) == INITIAL_WINDOW_SIZE
                && u32::from_be_bytes([*a, *b, *c, *d]) < KEPT
        });
        self.is_narrow |= is_small || !is_whole;
    }

    /// The client widens the connection's window by so much: what the implementation gets to see of it.
    pub(super) fn widened(&mut self, increment: u32) -> u32 {
        if self.has_kept || increment < LARGE {
            return increment;
        }
        (self.kept, self.has_kept) = (KEPT, true);
        increment - KEPT
    }

    /// Whether there is room for so many bytes, which are then used up.
    pub(super) fn spend(&mut self, bytes: usize) -> bool {
        let rest = u32::try_from(bytes)
            .ok()
            .and_then(|bytes| self.kept.checked_sub(bytes));
        match rest.filter(|_| !self.is_narrow) {
            Some(rest) => self.kept = rest,
            None => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide() -> SendWindow {
        let mut window = SendWindow::default();
        assert_eq!(window.widened(LARGE), LARGE - KEPT);
        window
    }

    #[test]
    fn room_is_kept_once_and_spent_once() {
        let mut window = wide();
        assert_eq!(window.widened(LARGE), LARGE);
        assert!(window.spend(KEPT as usize - 100));
        assert!(!window.spend(101));
        assert!(window.spend(100));
        assert!(!window.spend(1));
    }

    #[test]
    fn small_windows_are_left_whole() {
        let mut window = SendWindow::default();
        assert_eq!(window.widened(LARGE - 1), LARGE - 1);
        assert!(!window.spend(1));
    }

    #[test]
    fn a_client_whose_streams_are_narrow_gets_nothing_beyond_their_window() {
        let setting = |id: u16, value: u32| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        for (payload, is_whole, has_room) in [
            (vec![], true, true),
            (vec![], false, false),
            (setting(4, KEPT), true, true),
            (setting(4, KEPT - 1), true, false),
            (setting(4, 0), true, false),
            (setting(3, 0), true, true),
            ([setting(3, 100), setting(4, 0)].concat(), true, false),
        ] {
            let mut window = wide();
            window.settings(&payload, is_whole);
            assert_eq!(window.spend(1), has_room, "{payload:?}, {is_whole}");
        }
        // What was narrow once may still be for streams of that time.
        let mut window = wide();
        window.settings(&setting(4, 0), true);
        window.settings(&setting(4, LARGE), true);
        assert!(!window.spend(1));
    }
}
