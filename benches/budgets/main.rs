//! How many instructions the pieces of a request's way take, and how many they may: counted by callgrind, so that a slow or
//! busy machine changes nothing, and a change that costs more fails where it is made.
//!
//! `cargo bench --bench budgets` needs Debian's `valgrind`, and `gungraun-runner` of the version in `Cargo.lock`
//! (`cargo install gungraun-runner --version …`). A piece over its budget fails the run. Budgets are what was counted and a
//! tenth more, for what differs between processors, C libraries and the seeds of hash tables. A change that has its
//! reasons changes the budget too, in the same commit; one that saves more than that tenth lowers it.
//!
//! Reading order: the table of budgets, here; then `pieces`, what is counted.

#[path = "../samples/mod.rs"]
mod samples;

mod pieces;

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use pieces::{
    Piece, account, admit_and_settle, answer_usage, ask, ask_and_estimate, breaker, certificate,
    choose, forwarding, front_door, head, head_of_http2, key, log_line, opening, outcome, outgoing,
    price, progress, route, stream, stream_usage, trim, usage_line, watch,
};

fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions)]));
    config
}

// What a request is.
#[library_benchmark]
#[bench::head(args = (), setup = head, config = at_most(8_710))]
#[bench::head_of_http2(args = (), setup = head_of_http2, config = at_most(1_760))]
#[bench::front_door(args = (), setup = front_door, config = at_most(2_040))]
#[bench::route_v1(args = ("/openai/v1/chat/completions"), setup = route, config = at_most(158))]
#[bench::route_classic(args = ("/openai/deployments/gpt-4o/chat/completions"), setup = route, config = at_most(630))]
#[bench::client_by_key_of_10000(args = (), setup = key, config = at_most(5_840))]
#[bench::client_by_certificate_of_10000(args = (), setup = certificate, config = at_most(1_900))]
#[bench::ask_1_kib(args = (1 << 10), setup = ask, config = at_most(7_410))]
#[bench::ask_256_kib(args = (256 << 10), setup = ask, config = at_most(1_043_000))]
#[bench::ask_and_estimate_1_kib(args = (1 << 10), setup = ask_and_estimate, config = at_most(20_020))]
#[bench::ask_and_estimate_256_kib(args = (256 << 10), setup = ask_and_estimate, config = at_most(4_056_000))]
// Where it goes.
#[bench::limits_admit_and_settle(args = (), setup = admit_and_settle, config = at_most(5_220))]
#[bench::choose_of_3_and_judge(args = (3), setup = choose, config = at_most(930))]
#[bench::choose_of_1000_and_judge(args = (1_000), setup = choose, config = at_most(760))]
#[bench::breaker(args = (), setup = breaker, config = at_most(80))]
#[bench::failover(args = (), setup = progress, config = at_most(284))]
#[bench::outgoing(args = (), setup = outgoing, config = at_most(2_140))]
#[bench::forwarding(args = (), setup = forwarding, config = at_most(5_610))]
// What came of it.
// Looks up of which kind the answer is: a web page is none.
#[bench::outcome_served(args = (200), setup = outcome, config = at_most(195))]
#[bench::outcome_throttled(args = (429), setup = outcome, config = at_most(820))]
#[bench::opening_of_a_stream(args = (), setup = opening, config = at_most(49_500))]
#[bench::watch_100_events(args = (), setup = watch, config = at_most(88_700))]
#[bench::usage_of_100_events(args = (), setup = stream_usage, config = at_most(138_100))]
#[bench::trim_100_events(args = (), setup = trim, config = at_most(103_100))]
#[bench::all_of_100_events(args = (), setup = stream, config = at_most(236_100))]
#[bench::usage_of_an_answer_1_kib(args = (1 << 10), setup = answer_usage, config = at_most(5_470))]
#[bench::usage_of_an_answer_64_kib(args = (64 << 10), setup = answer_usage, config = at_most(22_110))]
#[bench::price(args = (), setup = price, config = at_most(410))]
#[bench::metrics(args = (), setup = account, config = at_most(3_980))]
#[bench::access_log_line(args = (), setup = log_line, config = at_most(6_760))]
#[bench::usage_log_line(args = (), setup = usage_line, config = at_most(5_050))]
fn pieces_of_a_request(mut piece: Piece) -> Piece {
    piece.work();
    // Its end is not counted.
    piece
}

library_benchmark_group!(name = budgets, benchmarks = pieces_of_a_request);
main!(library_benchmark_groups = budgets);
