//! When a slot's runs are captured in a graph and when they are replayed.
//!
//! A run that is captured must have run plainly at the same shapes and addresses before: the first run of a shape is where
//! an engine settles what it put off. So a slot has one graph at a time, captured at the second run of its shapes and gone
//! when they change. Where capturing fails, runs go on plainly and the reason is kept.

use crate::error::Result;
use crate::session::GraphState;

/// What runs, plainly or from a graph.
pub(crate) trait Replayable {
    /// A captured run.
    type Graph;

    /// Why the next run cannot be captured, as far as that is known beforehand.
    fn obstacle(&self) -> Option<&'static str>;

    /// Starts a run.
    fn enqueue(&mut self) -> Result<()>;

    /// Captures a run without starting it.
    fn capture(&mut self) -> Result<Self::Graph>;

    /// Starts a captured run.
    fn launch(&mut self, graph: &Self::Graph) -> Result<()>;
}

/// The graph of a slot, and how far it is from having one.
#[derive(Debug, Default)]
pub(crate) enum Replays<G> {
    /// None is wanted.
    #[default]
    NotAsked,
    /// Nothing has run at these shapes.
    New,
    /// These shapes have run plainly.
    Settled,
    /// Runs are replayed.
    Captured(G),
    /// Runs at these shapes are not captured, for this reason.
    GivenUp(String),
}

impl<G> Replays<G> {
    /// Graphs if `asked`.
    pub(crate) fn new(asked: bool) -> Self {
        if asked { Self::New } else { Self::NotAsked }
    }

    /// Shapes or addresses change.
    pub(crate) fn reset(&mut self) {
        if !matches!(self, Self::NotAsked) {
            *self = Self::New;
        }
    }

    /// What has come of the wish for a graph.
    pub(crate) fn state(&self) -> GraphState {
        match self {
            Self::NotAsked => GraphState::NotAsked,
            Self::New | Self::Settled => GraphState::Inactive("the second run of a shape captures it".to_owned()),
            Self::Captured(_) => GraphState::Active,
            Self::GivenUp(reason) => GraphState::Inactive(reason.clone()),
        }
    }

    /// Starts a run, the best way there is.
    pub(crate) fn start(&mut self, run: &mut impl Replayable<Graph = G>) -> Result<()> {
        match self {
            Self::NotAsked | Self::GivenUp(_) => run.enqueue(),
            Self::New => {
                run.enqueue()?;
                *self = Self::Settled;
                Ok(())
            }
            Self::Settled => {
                *self = captured(run);
                match self {
                    Self::Captured(_) => self.replay(run),
                    _ => run.enqueue(),
                }
            }
            Self::Captured(_) => self.replay(run),
        }
    }

    /// Starts the captured run; a graph that does not start is captured anew.
    fn replay(&mut self, run: &mut impl Replayable<Graph = G>) -> Result<()> {
        let Self::Captured(graph) = self else { return run.enqueue() };
        let launched = run.launch(graph);
        if launched.is_err() {
            *self = Self::New;
        }
        launched
    }
}

fn captured<R: Replayable>(run: &mut R) -> Replays<R::Graph> {
    match run.obstacle() {
        Some(reason) => Replays::GivenUp(reason.to_owned()),
        None => run.capture().map_or_else(|error| Replays::GivenUp(error.to_string()), Replays::Captured),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use proptest::prelude::*;

    /// A sum whose runs are counted: what a run adds is read when it is captured, so that an old graph adds the wrong number.
    #[derive(Default)]
    struct Sum {
        shape: u64,
        total: u64,
        /// Shape that has run plainly since it was set.
        settled: Option<u64>,
        captures: u32,
        launches: u32,
        capture_fails: bool,
        launch_fails: bool,
        obstacle: Option<&'static str>,
    }

    fn refused() -> Error {
        Error::Run { reason: "not now".to_owned() }
    }

    impl Replayable for Sum {
        type Graph = u64;

        fn obstacle(&self) -> Option<&'static str> {
            self.obstacle
        }

        fn enqueue(&mut self) -> Result<()> {
            self.total += self.shape;
            self.settled = Some(self.shape);
            Ok(())
        }

        fn capture(&mut self) -> Result<u64> {
            assert_eq!(self.settled, Some(self.shape), "captured before it ran plainly");
            self.captures += 1;
            if self.capture_fails { Err(refused()) } else { Ok(self.shape) }
        }

        fn launch(&mut self, graph: &u64) -> Result<()> {
            if self.launch_fails {
                return Err(refused());
            }
            self.launches += 1;
            self.total += graph;
            Ok(())
        }
    }

    #[test]
    fn the_second_run_captures_and_later_ones_replay() {
        let (mut sum, mut replays) = (Sum { shape: 5, ..Sum::default() }, Replays::new(true));
        assert!(matches!(replays.state(), GraphState::Inactive(reason) if reason.contains("second run")));
        (0..10).for_each(|_| replays.start(&mut sum).unwrap());
        assert_eq!((sum.total, sum.captures, sum.launches), (50, 1, 9));
        assert_eq!(replays.state(), GraphState::Active);
    }

    #[test]
    fn nothing_is_captured_unasked_or_against_an_obstacle() {
        let (mut sum, mut replays) = (Sum { shape: 5, ..Sum::default() }, Replays::new(false));
        (0..3).for_each(|_| replays.start(&mut sum).unwrap());
        replays.reset();
        assert_eq!((sum.total, sum.captures, replays.state()), (15, 0, GraphState::NotAsked));
        let (mut sum, mut replays) = (Sum { obstacle: Some("sizes"), ..Sum::default() }, Replays::new(true));
        (0..3).for_each(|_| replays.start(&mut sum).unwrap());
        assert_eq!((sum.captures, replays.state()), (0, GraphState::Inactive("sizes".to_owned())));
    }

    #[test]
    fn a_capture_that_fails_leaves_plain_runs_and_its_reason() {
        let (mut sum, mut replays) = (Sum { shape: 2, capture_fails: true, ..Sum::default() }, Replays::new(true));
        (0..5).for_each(|_| replays.start(&mut sum).unwrap());
        assert_eq!((sum.total, sum.captures, sum.launches), (10, 1, 0));
        assert!(matches!(replays.state(), GraphState::Inactive(reason) if reason.contains("not now")));
    }

    #[test]
    fn a_graph_that_does_not_start_is_told_and_captured_anew() {
        let (mut sum, mut replays) = (Sum { shape: 2, ..Sum::default() }, Replays::new(true));
        (0..3).for_each(|_| replays.start(&mut sum).unwrap());
        sum.launch_fails = true;
        assert!(replays.start(&mut sum).is_err());
        sum.launch_fails = false;
        (0..3).for_each(|_| replays.start(&mut sum).unwrap());
        assert_eq!((sum.total, sum.captures, replays.state()), (12, 2, GraphState::Active));
    }

    proptest! {
        #[test]
        fn every_run_is_of_its_own_shape_and_happens_once(steps in proptest::collection::vec((0u64..4, any::<bool>()), 0..60)) {
            let (mut sum, mut replays) = (Sum { shape: 1, ..Sum::default() }, Replays::new(true));
            let mut expected = 0;
            for (shape, fails) in steps {
                sum.capture_fails = fails;
                if shape > 0 && shape != sum.shape {
                    sum.shape = shape;
                    sum.settled = None;
                    replays.reset();
                }
                replays.start(&mut sum).unwrap();
                expected += sum.shape;
                prop_assert_eq!(sum.total, expected);
            }
        }
    }
}
