//! Whether a session's memory is within its limits, asked before anything is allocated.

use std::sync::Arc;

use crate::device::{Class, Host};
use crate::engine::{Engine, Kind, Layout, Request};
use crate::error::{Error, Result};
use crate::ledger::{Plan, Refusal, Scope};
use crate::stages::{Admitted, Terms};

/// A session that was let in.
pub(crate) enum Admission {
    /// Of an engine that is loaded as a whole.
    Whole(Plan),
    /// Of stages on the host.
    Staged(Arc<Admitted<Host>>),
    /// Of stages on a GPU.
    #[cfg(feature = "tensorrt")]
    StagedOnGpu(Arc<Admitted<crate::device::Cuda>>),
}

impl Admission {
    /// Lets a session in. `streaming` is whether stages are to come and go even where everything fits.
    pub(crate) fn ask(
        engine: &Engine,
        layout: &Layout,
        request: &Request,
        budget_bytes: Option<u64>,
        streaming: bool,
    ) -> Result<Self> {
        let terms = Terms { layout, request, budget_bytes, streaming };
        match engine.kind() {
            Kind::Staged(staged) => return Ok(Self::Staged(staged.admit(terms)?)),
            #[cfg(feature = "tensorrt")]
            Kind::StagedOnGpu(staged) => return Ok(Self::StagedOnGpu(staged.admit(terms)?)),
            _ => {}
        }
        let plan = engine.plan_of(layout, request);
        check_budget(&plan, budget_bytes)?;
        engine.ledger().admits(&plan.beyond(&Plan::of(Class::Weights, plan[Class::Weights])))?;
        Ok(Self::Whole(plan))
    }

    pub(crate) fn plan(&self) -> Plan {
        match self {
            Self::Whole(plan) => *plan,
            Self::Staged(admitted) => admitted.plan,
            #[cfg(feature = "tensorrt")]
            Self::StagedOnGpu(admitted) => admitted.plan,
        }
    }

    /// Whether it runs in stages that all stay.
    pub(crate) fn is_resident(&self) -> bool {
        match self {
            Self::Whole(_) => false,
            Self::Staged(admitted) => admitted.is_resident,
            #[cfg(feature = "tensorrt")]
            Self::StagedOnGpu(admitted) => admitted.is_resident,
        }
    }

    /// Whether it runs in stages that come and go.
    pub(crate) fn is_streaming(&self) -> bool {
        !matches!(self, Self::Whole(_)) && !self.is_resident()
    }
}

fn check_budget(plan: &Plan, budget_bytes: Option<u64>) -> Result<()> {
    let need_bytes = plan.device_bytes();
    match budget_bytes {
        Some(limit_bytes) if need_bytes > limit_bytes => Err(Error::OverBudget(Box::new(Refusal {
            scope: Scope::Session,
            need_bytes,
            have_bytes: limit_bytes,
            limit_bytes,
            holders: Vec::new(),
        }))),
        _ => Ok(()),
    }
}
