//! Builds forms of a network, one change after another, and keeps what pays.

use super::candidates::{Place, candidates};
use super::{Banding, LeanForm};
use crate::int8::Form;
use crate::{CancelFlag, Error, Progress, Result, format_bytes};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use trtforge_graph::{Graph, Model};

/// The share of weights and activation that a rewrite has to win: it costs kernels.
pub const LEAST_GAIN: f64 = 0.01;
/// Numbers of bands of the network's beginning; places are compared with the first.
const BANDS: [u64; 3] = [4, 8, 5];
/// Smaller numbers that are tried again once everything else is settled, as long as they are about as good.
const FEWER_BANDS: [u64; 4] = [5, 4, 3, 2];
/// Numbers of bands of a part further in; every place is built with each, since how its tensors pack is luck.
const INNER_BANDS: [u64; 2] = [3, 2];
/// Most parts of each kind that are built.
const PLACES: usize = 2;
/// Most builds that look for rewrites.
const MOST_BUILDS: usize = 18;
/// Placements of quantization that are tried once the rewrites are settled for [`Form::FULL`].
const PLACEMENTS: [Form; 2] = [Form::SUMS_ONLY, Form::INPUTS_ONLY];
/// Most builds of one search, all in all.
const MOST_BUILDS_IN_ALL: usize = MOST_BUILDS + PLACEMENTS.len();
/// How much larger a form may be that is kept in mind beside the best one.
const RUNNER_UP: f64 = 0.025;
/// The share of weights and activation that more bands have to win over fewer, and less in INT8 over more.
const CLOSE: f64 = 0.005;

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The form.
    pub form: LeanForm,
    /// Its weights and activation in bytes.
    pub bytes: u64,
    /// Those of the network as it is.
    pub plain_bytes: u64,
    /// Engines that were built.
    pub builds: usize,
}

/// Turns a network in 32 bits, restructured or not, into the model whose parts may be cut into bands: quantized with the given placement, and converted to half
/// precision.
pub type Convert<'a> = dyn Fn(Graph, Form) -> Result<Model> + 'a;
/// Weights and activation of a model's engine in bytes, from a build.
pub type Judge<'a> = dyn Fn(&Model) -> Result<u64> + 'a;

/// A form with its weights and activation in bytes.
type Built = (u64, LeanForm);

/// A search for the form that takes least memory.
pub struct Search<'a> {
    convert: &'a Convert<'a>,
    judge: &'a Judge<'a>,
    progress: &'a dyn Progress,
    cancel: &'a CancelFlag,
    network: &'a Graph,
    /// Converted networks, by whether convolutions are merged and split, and by placement.
    converted: HashMap<(bool, bool, Form), Graph>,
    /// Bytes of every form built so far; `None` for one that gave no engine.
    built: HashMap<LeanForm, Option<u64>>,
    most_builds: usize,
}

impl<'a> Search<'a> {
    /// A search over `network`: in 32 bits, simplified, its values typed.
    pub fn new(
        network: &'a Graph,
        convert: &'a Convert<'a>,
        judge: &'a Judge<'a>,
        progress: &'a dyn Progress,
        cancel: &'a CancelFlag,
    ) -> Self {
        let (converted, built) = (HashMap::new(), HashMap::new());
        Search { convert, judge, progress, cancel, network, converted, built, most_builds: MOST_BUILDS }
    }

    /// Runs the search: rewrites of convolutions first, then the network's beginning in bands, then what needs most memory after that; at the end, whatever
    /// turns out to win nothing in that company is taken back, and less than everything is tried in INT8.
    ///
    /// # Errors
    /// Those of `convert`, of the rewrites, and of the build of the network as it is. A rewritten form that cannot be built is passed over.
    pub fn choose(mut self) -> Result<Choice> {
        let plain = LeanForm::default();
        let plain_bytes = (self.judge)(&self.model(&plain)?)?;
        self.built.insert(plain.clone(), Some(plain_bytes));
        let mut best = (plain_bytes, LeanForm { merge_siblings: true, split_concatenations: true, ..plain.clone() });
        best = match self.bytes(&best.1)? {
            Some(bytes) => (bytes, best.1),
            None => (plain_bytes, plain.clone()),
        };
        let runner_up;
        (best, runner_up) = self.cut_beginning(best)?;
        best = self.cut_peak(best, runner_up)?;
        best = self.take_back(best)?;
        best = self.thin_out(best)?;
        if !gains(plain_bytes, best.0, LEAST_GAIN) {
            best = (plain_bytes, plain);
        }
        let (bytes, form) = self.place(best)?;
        Ok(Choice { form, bytes, plain_bytes, builds: self.built.len() })
    }

    /// Quantizes less than everything.
    fn place(&mut self, best: Built) -> Result<Built> {
        self.most_builds = MOST_BUILDS_IN_ALL;
        let mut tried = Vec::new();
        for placement in PLACEMENTS {
            let form = LeanForm { placement, ..best.1.clone() };
            if self.same_placement(&form, tried.iter().map(|(_, form)| form).chain([&best.1]))? {
                continue;
            }
            tried.extend(self.bytes(&form)?.map(|bytes| (bytes, form)));
        }
        let least = tried.into_iter().min_by_key(|(bytes, _)| *bytes);
        Ok(least.filter(|(bytes, _)| gains(best.0, *bytes, CLOSE)).unwrap_or(best))
    }

    /// Whether the network has nothing that the placement of `form` leaves out and that of another does not.
    fn same_placement<'f>(&mut self, form: &LeanForm, others: impl Iterator<Item = &'f LeanForm>) -> Result<bool> {
        let own = self.converted(form)?.into_model().map_err(Error::pass("lean-form"))?;
        for other in others {
            let other = self.converted(other)?.into_model().map_err(Error::pass("lean-form"))?;
            if own.proto() == other.proto() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Computes the network's beginning in bands, up to the best of the likeliest places. Returns the form to go on with, and another that is nearly as good.
    fn cut_beginning(&mut self, best: Built) -> Result<(Built, Option<Built>)> {
        let mut tried = Vec::new();
        for banding in self.places(&best.1, Place::Beginning, BANDS[0])? {
            let form = with(&best.1, banding);
            tried.extend(self.bytes(&form)?.map(|bytes| (bytes, form)));
        }
        let Some((least, winner)) = tried.iter().min_by_key(|(bytes, _)| *bytes).cloned() else {
            return Ok((best, None));
        };
        // Places that are as good as one another may part ways with more bands.
        let close = tried.iter().filter(|(bytes, form)| *form != winner && !gains(*bytes, least, RUNNER_UP));
        let close: Vec<LeanForm> = close.map(|(_, form)| recut(form, BANDS[1])).collect();
        for form in BANDS[1..].iter().map(|&count| recut(&winner, count)).chain(close) {
            tried.extend(self.bytes(&form)?.map(|bytes| (bytes, form)));
        }
        let chosen = cheapest(tried.clone(), best);
        tried.retain(|(bytes, form)| *form != chosen.1 && !gains(*bytes, chosen.0, RUNNER_UP));
        Ok((chosen, tried.into_iter().min_by_key(|(bytes, _)| *bytes)))
    }

    /// Computes the part that needs most memory after that in bands. What packs worse alone may pack better with such a part, so the runner-up gets a chance too.
    fn cut_peak(&mut self, best: Built, runner_up: Option<Built>) -> Result<Built> {
        let mut tried = Vec::new();
        for (form, places) in std::iter::once((&best.1, PLACES)).chain(runner_up.as_ref().map(|(_, form)| (form, 1))) {
            for banding in self.places(form, Place::Peak, INNER_BANDS[0])?.into_iter().take(places) {
                let form = with(form, banding);
                for count in INNER_BANDS {
                    let form = recut(&form, count);
                    tried.extend(self.bytes(&form)?.map(|bytes| (bytes, form)));
                }
            }
        }
        Ok(cheapest(tried, best))
    }

    fn places(&mut self, form: &LeanForm, place: Place, bands: u64) -> Result<Vec<Banding>> {
        let mut graph = self.converted(form)?;
        form.band(&mut graph)?;
        let mut places = candidates(&graph, place, bands)?;
        places.truncate(PLACES);
        Ok(places)
    }

    /// Drops each rewrite without which the form is no larger, and each part in bands without which it is hardly larger.
    fn take_back(&mut self, mut best: Built) -> Result<Built> {
        let mut smaller = vec![
            LeanForm { merge_siblings: false, ..best.1.clone() },
            LeanForm { split_concatenations: false, ..best.1.clone() },
        ];
        if best.1.bandings.len() > 1 {
            smaller.push(LeanForm { bandings: best.1.bandings[1..].to_vec(), ..best.1.clone() });
        }
        for form in smaller {
            let banded = form.bandings.len() < best.1.bandings.len();
            if let Some(bytes) = self.bytes(&form)?
                && (bytes <= best.0 || (banded && !gains(bytes, best.0, LEAST_GAIN)))
            {
                best = (bytes, form);
            }
        }
        Ok(best)
    }

    /// Tries the first part in fewer bands again, now that the others are there.
    fn thin_out(&mut self, mut best: Built) -> Result<Built> {
        let Some(bands) = best.1.bandings.first().map(|banding| banding.bands) else { return Ok(best) };
        let least = best.0;
        for count in FEWER_BANDS.into_iter().filter(|&count| count < bands) {
            let mut form = best.1.clone();
            form.bandings[0].bands = count;
            match self.bytes(&form)? {
                Some(bytes) if !gains(bytes, least, CLOSE) => best = (bytes, form),
                _ => break,
            }
        }
        Ok(best)
    }

    /// Weights and activation of a form; `None` where it gives no engine, or where there were builds enough.
    fn bytes(&mut self, form: &LeanForm) -> Result<Option<u64>> {
        if let Some(&bytes) = self.built.get(form) {
            return Ok(bytes);
        }
        if self.built.len() >= self.most_builds {
            return Ok(None);
        }
        self.cancel.check()?;
        self.progress.advance("forms", self.built.len() as u64 + 1, MOST_BUILDS_IN_ALL as u64);
        let model = self.model(form)?;
        let bytes = match (self.judge)(&model) {
            Ok(bytes) => Some(bytes),
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => {
                self.progress.note(&format!("a form of the network could not be built and is passed over: {error}"));
                None
            }
        };
        let size = bytes.map_or_else(|| "no engine".into(), format_bytes);
        self.progress.applied("lean-form", &format!("{size}: {form:?}"));
        self.built.insert(form.clone(), bytes);
        Ok(bytes)
    }

    fn model(&mut self, form: &LeanForm) -> Result<Model> {
        let mut graph = self.converted(form)?;
        form.band(&mut graph)?;
        graph.into_model().map_err(Error::pass("band-rows"))
    }

    fn converted(&mut self, form: &LeanForm) -> Result<Graph> {
        let key = (form.merge_siblings, form.split_concatenations, form.placement);
        if let Some(graph) = self.converted.get(&key) {
            return Ok(graph.clone());
        }
        let mut network = self.network.clone();
        form.restructure(&mut network, self.progress)?;
        let model = (self.convert)(network, form.placement)?;
        let graph = Graph::new(model).map_err(Error::pass("lean-form"))?;
        self.converted.insert(key, graph.clone());
        Ok(graph)
    }
}

/// The form with the last part in another number of bands.
fn recut(form: &LeanForm, bands: u64) -> LeanForm {
    let mut form = form.clone();
    form.bandings.iter_mut().last().into_iter().for_each(|banding| banding.bands = bands);
    form
}

/// The form with the fewest bands among those that are about as good as the best, where it wins enough over `before`.
fn cheapest(tried: Vec<Built>, before: Built) -> Built {
    let Some(least) = tried.iter().map(|(bytes, _)| *bytes).min() else { return before };
    let close = tried.into_iter().filter(|(bytes, _)| !gains(*bytes, least, CLOSE));
    let cheapest = close.min_by_key(|(bytes, form)| (form.bandings.last().map(|banding| banding.bands), *bytes));
    cheapest.filter(|(bytes, _)| gains(before.0, *bytes, LEAST_GAIN)).unwrap_or(before)
}

fn with(form: &LeanForm, banding: Banding) -> LeanForm {
    let mut form = form.clone();
    form.bandings.push(banding);
    form
}

/// Whether going from `before` to `after` wins more than a share.
fn gains(before: u64, after: u64, share: f64) -> bool {
    (after as f64) < before as f64 * (1.0 - share)
}
