//! The form of a network that is cut into stages.
//!
//! What takes least as one engine has as few bands as its own peak allows. A stage peaks elsewhere and may gain by more of them, so every part is given other numbers of
//! bands, and cut and built in stages each time: how tensors pack is nothing to be guessed.

use super::{Lean, Network};
use crate::build::{BuildOptions, Libraries};
use crate::compile::Watch;
use crate::form::{Banding, LeanForm};
use crate::prepare::typed_graph;
use crate::segments::{Divisible, StageCompiler, Stages, worthwhile};
use crate::{Error, Progress, Result, format_bytes};
use std::sync::Arc;
use trtforge_graph::Graph;

/// Numbers of bands that a part is given anew.
const BANDS: [u64; 4] = [3, 4, 6, 8];

/// Changes a form to what stages gain by.
pub(super) fn refine(
    mut lean: Lean,
    stages: Stages,
    network: &Network,
    options: &BuildOptions,
    libraries: &Libraries,
    watch: &Watch<'_>,
) -> Result<Lean> {
    watch.progress.step("form for stages");
    let mut plain = lean.clone();
    plain.choice.form.bandings.clear();
    let model = network.laid_out(&options.prepare, Some(&plain), &())?;
    let plain = typed_graph(&libraries.onnxruntime, model, "stages")?;
    let mut best = lean.choice.form.bandings.clone();
    let first = Divisible::new(banded(&plain, &best)?, &network.shapes);
    let count = match stages {
        Stages::Count(count) => count,
        Stages::Auto => worthwhile(&first)?,
    };
    let silent: Arc<dyn Progress> = Arc::new(());
    let quiet = Watch { progress: &silent, cancel: watch.cancel };
    let compile_options = options.compile_options();
    let compiler = StageCompiler::new(&libraries.tensorrt, &compile_options, &quiet);
    let built = |bandings: &[Banding]| -> Result<u64> {
        let network = Divisible::new(banded(&plain, bandings)?, &network.shapes);
        compiler.least_peak(&network, count)
    };
    let before = built(&best)?;
    let (mut least, most) = (before, best.len() * BANDS.len());
    for place in 0..best.len() {
        for (number, bands) in (1..).zip(BANDS) {
            watch.progress.advance("forms", (place * BANDS.len() + number) as u64, most as u64);
            let mut form = best.clone();
            form[place].bands = bands;
            if form == best {
                continue;
            }
            match built(&form) {
                Ok(bytes) if bytes < least => (least, best) = (bytes, form),
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                // A form that cannot be built is passed over.
                _ => {}
            }
        }
    }
    if least < before {
        let (from, to) = (format_bytes(before), format_bytes(least));
        watch.progress.note(&format!("laid out for {count} stages: {from} at the peak became {to}"));
    }
    lean.choice.form.bandings = best;
    Ok(lean)
}

fn banded(plain: &Graph, bandings: &[Banding]) -> Result<Graph> {
    let mut graph = plain.clone();
    LeanForm { bandings: bandings.to_vec(), ..LeanForm::default() }.band(&mut graph)?;
    Ok(graph)
}
