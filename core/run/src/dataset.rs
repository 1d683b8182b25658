//! What identifies a data set, without its images.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::normalisation::Normalisation;

/// Names of classes that a difference lists.
const LISTED: usize = 3;

/// What identifies a data set: a run keeps it, to notice that its images have changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetSummary {
    /// Mean and standard deviation of the images' channels.
    pub normalisation: Normalisation,
    /// Names of the classes, in the order of their labels; empty if the images have no labels.
    pub classes: Vec<String>,
    /// The training images.
    pub train: SplitSummary,
    /// The test images.
    pub test: SplitSummary,
}

/// What identifies the images of one split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitSummary {
    /// Number of images.
    pub images: usize,
    /// SHA-256, in hexadecimal, of the names of their files below the data set's folder and of their labels, in order,
    /// and of their sizes in shards; of the pixels, where there are no files. `None` if it was not computed.
    pub digest: Option<String>,
}

impl DatasetSummary {
    /// Describes numbers of training and test images of these classes, without digests.
    pub fn without_digests(normalisation: Normalisation, classes: Vec<String>, [train, test]: [usize; 2]) -> Self {
        let split = |images| SplitSummary { images, digest: None };
        Self { normalisation, classes, train: split(train), test: split(test) }
    }

    /// Returns whether the images have labels.
    pub fn has_labels(&self) -> bool {
        !self.classes.is_empty()
    }

    /// Describes as text how the images `now` differ from these; returns nothing if they are the same. Digests are
    /// compared where both are known.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let of_classes = self.class_differences(now);
        for (split, then, now) in [("training", &self.train, &now.train), ("test", &self.test, &now.test)] {
            if then.images != now.images {
                differences.push(format!("{} {split} images then, {} now", then.images, now.images));
            } else if of_classes.is_empty()
                && then.digest.is_some()
                && now.digest.is_some()
                && then.digest != now.digest
            {
                differences.push(format!("the {} {split} images have other names, sizes or classes", now.images));
            }
        }
        differences.extend(of_classes);
        if self.normalisation != now.normalisation {
            differences.push("they are normalised with another mean and standard deviation".into());
        }
        differences
    }

    fn class_differences(&self, now: &Self) -> Vec<String> {
        match (self.has_labels(), now.has_labels()) {
            (true, false) => return vec!["they had labels, and have none now".into()],
            (false, true) => return vec!["they had no labels, and have some now".into()],
            _ => {}
        }
        let missing_in = |others: &[String], classes: &[String]| -> Vec<String> {
            let others: HashSet<&String> = others.iter().collect();
            classes.iter().filter(|class| !others.contains(class)).cloned().collect()
        };
        let gone = missing_in(&now.classes, &self.classes);
        let new = missing_in(&self.classes, &now.classes);
        if gone.is_empty() && new.is_empty() && self.classes != now.classes {
            return vec!["the classes are in another order".into()];
        }
        [(gone, "gone"), (new, "new")].iter().filter_map(|(classes, what)| sentence(classes, what)).collect()
    }
}

/// Says what the `classes` are, with the first few names; nothing if there are none.
fn sentence(classes: &[String], what: &str) -> Option<String> {
    let mut names: Vec<String> = classes.iter().take(LISTED).map(|class| format!("'{class}'")).collect();
    let more = classes.len() - names.len();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    let last = names.pop()?;
    Some(match names.is_empty() {
        true => format!("class {last} is {what}"),
        false => format!("classes {} and {last} are {what}", names.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(classes: &[&str], [train, test]: [usize; 2], digest: &str) -> DatasetSummary {
        let split = |images| SplitSummary { images, digest: Some(format!("{digest}{images}")) };
        DatasetSummary {
            normalisation: Normalisation::IMAGENET,
            classes: classes.iter().map(|class| class.to_string()).collect(),
            train: split(train),
            test: split(test),
        }
    }

    #[test]
    fn counts_and_classes_that_changed_are_named() {
        let then = summary(&["a", "b", "c"], [132, 13], "x");
        assert!(then.differences(&then.clone()).is_empty());
        let now = summary(&["a", "b"], [200, 13], "y");
        assert_eq!(then.differences(&now).join("; "), "132 training images then, 200 now; class 'c' is gone");
        assert_eq!(now.differences(&then).join("; "), "200 training images then, 132 now; class 'c' is new");
        let others = summary(&["a", "d", "e", "f", "g"], [132, 14], "x");
        assert_eq!(
            then.differences(&others).join("; "),
            "13 test images then, 14 now; classes 'b' and 'c' are gone; classes 'd', 'e', 'f' and 1 more are new"
        );
        let reordered = summary(&["b", "a", "c"], [132, 13], "y");
        assert_eq!(then.differences(&reordered), ["the classes are in another order"]);
    }

    #[test]
    fn labels_names_and_normalisation_are_compared() {
        let then = summary(&["a", "b"], [20, 2], "x");
        assert_eq!(
            then.differences(&summary(&["a", "b"], [20, 2], "y")),
            [
                "the 20 training images have other names, sizes or classes",
                "the 2 test images have other names, sizes or classes"
            ]
        );
        let unlabelled = summary(&[], [20, 2], "y");
        assert_eq!(then.differences(&unlabelled), ["they had labels, and have none now"]);
        assert_eq!(unlabelled.differences(&then), ["they had no labels, and have some now"]);
        let mut unknown = summary(&["a", "b"], [20, 2], "y");
        (unknown.train.digest, unknown.test.digest) = (None, None);
        assert!(then.differences(&unknown).is_empty() && unknown.differences(&then).is_empty());
        let normalised = DatasetSummary { normalisation: Normalisation::CIFAR10, ..then.clone() };
        assert_eq!(then.differences(&normalised).len(), 1);
    }
}
