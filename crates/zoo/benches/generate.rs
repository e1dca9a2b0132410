//! Milliseconds to generate each network, the best of five.

use std::time::{Duration, Instant};

use trtforge_zoo::{Options, Variant, generate};

fn timed(options: &Options) -> Duration {
    let start = Instant::now();
    let model = generate(options).expect("default options");
    let elapsed = start.elapsed();
    drop(model);
    elapsed
}

fn main() {
    for variant in Variant::ALL {
        let options = Options::new(variant);
        let best = (0..5).map(|_| timed(&options)).min().expect("five runs");
        println!("{:<12} {:>7.1} ms", variant.name(), best.as_secs_f64() * 1e3);
    }
}
