//! Which category of the labels each class of a network is.

use crate::failure::Failure;
use anyhow::{Result, bail};
use std::collections::HashMap;
use trtforge_builder::Progress;
use trtforge_vision::ClassNames;
use trtforge_vision::coco::Category;

/// Ids of categories by class; nothing where a class is not labelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CategoryOfClass(Vec<Option<i64>>);

impl CategoryOfClass {
    /// Joins classes and categories by name, where both have names; else by the order of the categories' ids, where there
    /// are as many.
    ///
    /// # Errors
    /// Neither is possible.
    pub fn new(
        categories: &[Category],
        names: &ClassNames,
        classes: Option<usize>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let by_name: Vec<(Option<u32>, &Category)> =
            categories.iter().map(|category| (names.find(&category.name), category)).collect();
        let missing: Vec<&str> =
            by_name.iter().filter(|(class, _)| class.is_none()).map(|(_, category)| category.name.as_str()).collect();
        if let Some((twice, other)) = shared_class(&by_name) {
            bail!(
                Failure::input(format!(
                    "the labels have two categories for the class `{}`: {} and {}",
                    twice.name, other.id, twice.id
                ))
                .hint("rename one of them, or join their labels under one id")
            );
        }
        let count = classes.unwrap_or(names.len());
        if missing.len() < categories.len() {
            if !missing.is_empty() {
                let few = missing.iter().take(5).copied().collect::<Vec<_>>().join(", ");
                progress.note(&format!(
                    "categories of the labels that are no class of the model and count as never found ({}): {few}",
                    missing.len()
                ));
            }
            let mut ids = vec![None; count.max(names.len())];
            for (class, category) in by_name {
                if let Some(id) = class.and_then(|class| ids.get_mut(class as usize)) {
                    *id = Some(category.id);
                }
            }
            return Ok(Self(ids));
        }
        if classes.is_none_or(|classes| classes == categories.len()) {
            return Ok(Self(categories.iter().map(|category| Some(category.id)).collect()));
        }
        bail!(
            Failure::usage(format!(
                "the model's classes ({count}) and the labels' categories ({}) differ in number, and no names join them",
                categories.len()
            ))
            .hint("name the model's classes with --classes, as the labels name their categories")
        )
    }

    /// The category of a class.
    pub fn get(&self, class: u32) -> Option<i64> {
        self.0.get(class as usize).copied().flatten()
    }
}

/// Two categories that one class would be.
fn shared_class<'c>(by_name: &[(Option<u32>, &'c Category)]) -> Option<(&'c Category, &'c Category)> {
    let mut taken = HashMap::new();
    by_name.iter().find_map(|(class, category)| Some((*category, taken.insert((*class)?, *category)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn categories(names: &[(i64, &str)]) -> Vec<Category> {
        names.iter().map(|(id, name)| Category { id: *id, name: (*name).to_owned() }).collect()
    }

    #[test]
    fn names_join_and_else_the_order() {
        let coco = ClassNames::coco();
        let of = |names: &[(i64, &str)], classes: &ClassNames, count| {
            CategoryOfClass::new(&categories(names), classes, count, &())
        };
        let joined = of(&[(18, "dog"), (3, "Car"), (99, "lorry")], &coco, Some(80)).expect("by name");
        assert_eq!((joined.get(2), joined.get(16), joined.get(0), joined.get(500)), (Some(3), Some(18), None, None));
        let ordered = of(&[(4, "nut"), (9, "bolt")], &ClassNames::default(), Some(2)).expect("by order");
        assert_eq!((ordered.get(0), ordered.get(1), ordered.get(2)), (Some(4), Some(9), None));
        assert!(of(&[(4, "nut"), (9, "bolt")], &coco, Some(80)).is_err());
        assert!(of(&[(4, "nut")], &ClassNames::default(), None).is_ok());
        let twice = of(&[(4, "dog"), (7, "cat"), (9, "Dog")], &coco, Some(80)).expect_err("one class, two categories");
        assert!(twice.to_string().ends_with("4 and 9"), "{twice}");
    }
}
