//! The ways to quantize one tensor: other thresholds, another centre, channels brought to one size.

use super::State;
use crate::calibration::{LEVELS, Method, half_scale, scale_of};
use crate::int8::equalization::{Equalization, can_equalize, can_shift, weight_rms};
use crate::int8::plan::Plan;
use crate::int8::survey::{ChannelStatistics, Survey};
use trtforge_graph::ValueId;

/// Parts of their range that the channels of equalised tensors try.
const CLIPS: [f32; 2] = [1.25, 1.0];
/// How much of a channel's size equalisation takes away; see [`Equalization::of`].
const STRENGTHS: [f32; 3] = [1.0, 0.75, 0.5];

/// Another way to quantize a tensor.
#[derive(Clone, Debug)]
pub(super) enum Remedy {
    Scale { scale: f32, method: Method },
    Equalize { equalization: Equalization, scale: f32 },
}

impl Remedy {
    pub(super) fn is_equalization(&self) -> bool {
        matches!(self, Remedy::Equalize { .. })
    }

    pub(super) fn name(&self) -> String {
        match self {
            Remedy::Scale { method, .. } => method.to_string(),
            Remedy::Equalize { equalization, .. } if equalization.factors.iter().all(|&factor| factor == 1.0) => {
                "centred".into()
            }
            Remedy::Equalize { .. } => "equalised".into(),
        }
    }

    pub(super) fn apply(&self, plan: &mut Plan, group: &[ValueId]) {
        match self {
            Remedy::Scale { scale, .. } => plan.scales.extend(group.iter().map(|&value| (value, *scale))),
            Remedy::Equalize { equalization, scale } => {
                plan.scales.extend(group.iter().map(|&value| (value, *scale)));
                plan.equalizations.extend(group.iter().map(|&value| (value, equalization.clone())));
            }
        }
    }
}

impl State<'_, '_> {
    pub(super) fn remedies(&self, group: &[ValueId], survey: &Survey) -> Vec<Remedy> {
        let mut remedies: Vec<Remedy> = Vec::new();
        if self.search.method.is_none() {
            let current = group.first().and_then(|value| self.plan.scales.get(value)).copied().unwrap_or(0.0);
            let mut seen = vec![current];
            for method in Method::CANDIDATES {
                let scale = self.search.scale(group, method);
                if seen.iter().all(|&known| (known / scale - 1.0).abs() > 0.03) {
                    seen.push(scale);
                    remedies.push(Remedy::Scale { scale, method });
                }
            }
        }
        let graph = self.search.ground.graph();
        if let [value] = group
            && let Some(channels) = survey.get(value)
            && let Some(tensor) = self.plan.placement.tensors.get(value)
            && can_equalize(graph, &self.plan, *value, tensor, channels.len())
            && let Some((rms, depthwise)) = weight_rms(graph, tensor, channels.len())
        {
            let shift = can_shift(graph, tensor);
            if shift {
                remedies.extend(self.centred(group, channels));
            }
            let strengths: &[f32] = if depthwise { &STRENGTHS[..1] } else { &STRENGTHS };
            let forms = strengths.iter().flat_map(|&strength| CLIPS.map(|clip| (strength, clip)));
            remedies.extend(forms.filter_map(|(strength, clip)| {
                let (equalization, threshold) = Equalization::of(channels, &rms, strength, clip, shift)?;
                Some(Remedy::Equalize { equalization, scale: half_scale(scale_of(threshold)) })
            }));
        }
        remedies
    }

    /// The tensor moved to lie around zero, with each method's threshold as its upper end.
    fn centred(&self, group: &[ValueId], channels: &[ChannelStatistics]) -> Vec<Remedy> {
        let mut seen: Vec<f32> = Vec::new();
        let mut remedies = Vec::new();
        for method in self.search.method.map_or(Method::CANDIDATES.to_vec(), |method| vec![method]) {
            let upper = self.search.scale(group, method) * LEVELS as f32;
            if seen.iter().all(|known| (known / upper - 1.0).abs() > 0.03) {
                seen.push(upper);
                let (equalization, threshold) = Equalization::centre(channels, upper);
                remedies.push(Remedy::Equalize { equalization, scale: half_scale(scale_of(threshold)) });
            }
        }
        remedies
    }

    pub(super) fn with_remedies(
        &self,
        groups: &[Vec<ValueId>],
        worst: &[usize],
        remedies: &[Vec<Remedy>],
        round: usize,
    ) -> Plan {
        let mut plan = self.plan.clone();
        plan.placement.tensors.retain(|value, _| worst.iter().any(|&index| groups[index].contains(value)));
        for (&index, remedies) in worst.iter().zip(remedies) {
            if let Some(remedy) = remedies.get(round) {
                remedy.apply(&mut plan, &groups[index]);
            }
        }
        plan
    }
}
