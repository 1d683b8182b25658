//! The layout of image folders: a sub-folder for each class, optionally below `train` and `val` (ImageNet's layout).

use std::collections::HashMap;

/// Name of the folder of training images, if there is a folder of test images beside it.
pub const TRAIN_NAME: &str = "train";
/// Names that a folder of test images may have.
pub const TEST_NAMES: [&str; 3] = ["val", "test", "validation"];
/// Without a folder of test images, every tenth image of a class is held out.
pub const HOLD_OUT: usize = 10;
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Returns whether a file's name is that of an image.
pub fn is_image(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str())
}

/// Moves every tenth image of each class out of `train` and returns them.
pub fn hold_out<T>(train: &mut Vec<(T, u32)>) -> Vec<(T, u32)> {
    let mut of_class = HashMap::<u32, usize>::new();
    let (test, kept) = train.drain(..).partition(|(_, label)| {
        let place = of_class.entry(*label).or_default();
        *place += 1;
        place.is_multiple_of(HOLD_OUT)
    });
    *train = kept;
    test
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenth_of_each_class_is_held_out() {
        let mut train: Vec<(usize, u32)> = (0..40).map(|image| (image, (image % 2) as u32)).collect();
        assert_eq!(hold_out(&mut train), [(18, 0), (19, 1), (38, 0), (39, 1)]);
        assert_eq!(train.len(), 36);
    }

    #[test]
    fn images_are_recognised_by_extension() {
        assert!(["a.JPG", "b/c.webp", "x.y.png"].into_iter().all(is_image));
        assert!(!["png", "a.gif", "labels.txt", ""].into_iter().any(is_image));
    }
}
