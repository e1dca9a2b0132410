//! The hand-over of slots to a session's thread and back, in every order, tried by loom.

#![allow(clippy::unwrap_used)]

use crate::{Call, ElementType, Engine, Function, Request, Result, Session, Signature, TensorInfo};

struct Negate;

impl Function for Negate {
    fn signature(&self) -> Signature {
        let tensor = |name| vec![TensorInfo::fixed(name, ElementType::Int32, &[1])];
        Signature { inputs: tensor("x"), outputs: tensor("y"), profiles: Vec::new() }
    }

    fn run(&self, mut call: Call<'_>) -> Result<()> {
        let x = call.inputs.get::<i32>(0).unwrap_or_default();
        call.outputs.get::<i32>(0).unwrap_or_default().iter_mut().zip(x).for_each(|(y, x)| *y = -x);
        Ok(())
    }
}

fn session(slots: usize) -> Session {
    Engine::function("negate", Negate).unwrap().session(Request::default().slots(slots).into()).unwrap()
}

#[test]
fn slots_come_back_with_their_answers_in_any_order() {
    for order in [[0, 1], [1, 0]] {
        loom::model(move || {
            let mut session = session(2);
            let mut tickets = Vec::new();
            for (index, value) in [3, 4].into_iter().enumerate() {
                let mut slot = session.slot(index).unwrap();
                slot.input::<i32>("x").unwrap()[0] = value;
                tickets.push(slot.submit().unwrap());
            }
            for index in order {
                session.wait(tickets[index]).unwrap();
                let got = session.slot(index).unwrap().output::<i32>("y").unwrap()[0];
                assert_eq!(got, [-3, -4][index]);
            }
        });
    }
}

#[test]
fn a_session_may_go_at_any_moment_of_its_runs() {
    loom::model(|| {
        let mut session = session(2);
        let first = session.slot(0).unwrap().submit().unwrap();
        session.slot(1).unwrap().submit().unwrap();
        let _ = session.is_done(first).unwrap();
        drop(session);
    });
}
