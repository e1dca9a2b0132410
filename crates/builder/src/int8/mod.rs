//! INT8: where quantization goes, with which scales, and what it costs.

mod channels;
mod correction;
mod decide;
mod equalization;
mod groups;
mod local;
mod loss;
mod placement;
mod plan;
mod policy;
mod rounding;
mod search;
mod survey;
mod trial;
mod weights;
mod work;

pub(crate) use channels::{ChannelMap, scale_inputs};
pub use correction::corrections;
pub use decide::{CalibrationSummary, DEFAULT_FLOOR, Decision, Int8Options, TRIED_SAMPLES, plan_for_memory};
pub(crate) use decide::{Deciding, WeighWith};
pub use equalization::{Equalization, can_equalize, can_shift, weight_rms};
pub use loss::{Loss, decibel};
pub use placement::{Placement, QuantizedTensor, Read};
pub use plan::Plan;
pub(crate) use policy::is_weighted;
pub use policy::{Form, Int8Policy};
pub use rounding::Rounded;
pub use search::{Found, Search, Wanted, Weigh};
pub use survey::{ChannelStatistics, Survey, survey};
pub use trial::TrialGround;
pub use weights::{QuantizedWeight, WeightSlot, quantize};
pub use work::Work;
