//! One value for each quantity that is known, without a heap.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Quantity;
use crate::device::{Class, MemoryInfo};
use crate::ledger::Plan;

/// A value for each quantity that is known. As JSON an object with the names of those.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Values {
    values: [u64; Quantity::COUNT],
    /// A bit for each that is known.
    known: u32,
}

impl Values {
    /// The value of a quantity, if it is known.
    #[must_use]
    pub fn get(&self, quantity: Quantity) -> Option<u64> {
        let index = quantity.index();
        (self.known >> index & 1 == 1).then(|| self.values[index])
    }

    /// Notes the value of a quantity; nothing is noted of one that is unknown.
    pub fn set(&mut self, quantity: Quantity, value: impl Into<Option<u64>>) {
        if let Some(value) = value.into() {
            self.values[quantity.index()] = value;
            self.known |= 1 << quantity.index();
        }
    }

    /// What is known, in the order of [`Quantity::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Quantity, u64)> + '_ {
        Quantity::ALL.into_iter().filter_map(|quantity| Some((quantity, self.get(quantity)?)))
    }

    /// Notes what a ledger holds.
    pub fn set_ledger(&mut self, held: &Plan) {
        Class::ALL.into_iter().for_each(|class| self.set(Quantity::of(class), held[class]));
    }

    /// Notes the memory of a device.
    pub fn set_memory(&mut self, memory: MemoryInfo) {
        self.set(Quantity::DeviceUsed, memory.total_bytes.saturating_sub(memory.free_bytes));
        self.set(Quantity::DeviceFree, memory.free_bytes);
    }

    /// What the ledger holds, if that is known.
    #[must_use]
    pub fn ledger(&self) -> Option<Plan> {
        let whole = Class::ALL.into_iter().try_fold(Plan::default(), |sum, class| {
            self.get(Quantity::of(class))
                .map_or(ControlFlow::Break(()), |bytes| ControlFlow::Continue(sum + Plan::of(class, bytes)))
        });
        whole.continue_value()
    }

    /// Takes what `other` knows, and joins it with `both` to what is known here.
    pub(super) fn join(&mut self, other: &Self, both: fn(u64, u64) -> u64) {
        for (quantity, value) in other.iter() {
            self.set(quantity, self.get(quantity).map_or(value, |mine| both(mine, value)));
        }
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self.iter().map(|(quantity, value)| (quantity.name(), value))).finish()
    }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (quantity, value) in self.iter() {
            map.serialize_entry(quantity.name(), &value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Values {
    /// What another version watches beside this one's quantities is passed over.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut values = Self::default();
        for (name, value) in BTreeMap::<String, u64>::deserialize(deserializer)? {
            Quantity::named(&name).into_iter().for_each(|quantity| values.set(quantity, value));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_survives_json_and_what_is_not_stays_unknown() {
        let mut values = Values::default();
        values.set(Quantity::Resident, 7);
        values.set(Quantity::Batch, None);
        values.set(Quantity::Threads, u64::MAX);
        let text = serde_json::to_string(&values).unwrap();
        assert_eq!(text, format!(r#"{{"resident_bytes":7,"threads":{}}}"#, u64::MAX));
        assert_eq!(serde_json::from_str::<Values>(&text).unwrap(), values);
        let newer: Values = serde_json::from_str(r#"{"resident_bytes":7,"watts":12}"#).unwrap();
        assert_eq!(newer.iter().collect::<Vec<_>>(), [(Quantity::Resident, 7)]);
        assert_eq!(values.ledger(), None);
        values.set_ledger(&Plan::of(Class::Io, 5));
        assert_eq!(values.ledger(), Some(Plan::of(Class::Io, 5)));
    }
}
