//! Values of the kinds that networks have, the same in every run.

use trtforge_builder::calibration::Histogram;

/// Uniform numbers in (0, 1), from the multiples of the golden ratio.
fn uniform(index: u64) -> f64 {
    let word = index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((word ^ (word >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 11) as f64 / 9_007_199_254_740_992.0 + 1.0e-17
}

fn gaussian(index: u64) -> f64 {
    (-2.0 * uniform(2 * index).ln()).sqrt() * (std::f64::consts::TAU * uniform(2 * index + 1)).cos()
}

fn laplace(index: u64) -> f64 {
    let centred = uniform(index) - 0.5;
    -centred.signum() * (1.0 - 2.0 * centred.abs()).max(1.0e-300).ln()
}

fn make(count: u64, value: impl Fn(u64) -> f64) -> Vec<f32> {
    (0..count).map(|index| value(index) as f32).collect()
}

/// Each distribution with its name.
pub fn all() -> Vec<(&'static str, Vec<f32>)> {
    let mut one_outlier = make(20_000, gaussian);
    one_outlier.push(90.0);
    vec![
        ("gaussian", make(20_000, gaussian)),
        ("relu", make(20_000, |index| gaussian(index).max(0.0))),
        ("laplace", make(20_000, |index| 3.0 * laplace(index))),
        ("one outlier", one_outlier),
        ("uniform", make(20_000, |index| 5.0 * uniform(index) - 1.0)),
        ("ramp", make(2048, |index| index as f64 + 0.25)),
        ("single spike", vec![0.7; 100]),
        ("two values", [vec![0.25; 70], vec![-1.9; 30]].concat()),
        ("mostly zero", make(20_000, |index| if index % 1000 == 0 { gaussian(index) } else { 0.0 })),
        ("one element", vec![-3.0]),
        ("denormal", vec![1.0e-42, -3.0e-42, 0.0]),
        ("huge", vec![f32::MAX, 1.0e38, -2.0e38, 3.0e37]),
    ]
}

pub fn histogram(values: &[f32]) -> Histogram {
    let mut histogram = Histogram::default();
    histogram.add(values).unwrap();
    histogram
}
