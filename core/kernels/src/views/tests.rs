use burn::tensor::Device;
use slimclr_data::{
    augment::{AugmentConfig, Augmenter, Normalisation, ViewPlan, view_rng},
    image::Image,
};

use super::DeviceImages;

#[test]
fn views_of_uploaded_images_match_the_augmenter() {
    let (width, height, size) = (12, 9, 8);
    let images: Vec<Image> = (0..3)
        .map(|number| {
            let pixels = (0..3 * width * height).map(|i| (i * 31 + number * 57) as u8).collect();
            Image { width, height, pixels }
        })
        .collect();
    let recipe = AugmentConfig::simclr(Normalisation::CIFAR10, size);
    let order = [2, 0, 1, 2];
    let plan = |number, image| {
        (image, ViewPlan::draw(&recipe, [width, height], &mut view_rng(1, 2, u64::from(image), number)))
    };
    let plans = (0..).zip(order).map(|(number, image)| plan(number, image)).collect();
    let uploaded = DeviceImages::upload(images.iter(), [width, height], &Device::flex());
    let views: Vec<f32> = uploaded.views(plans, size, recipe.normalisation).into_data().iter().collect();
    let mut view = vec![0.0; 3 * size * size];
    for ((number, image), made) in (0..).zip(order).zip(views.chunks_exact(view.len())) {
        let mut rng = view_rng(1, 2, u64::from(image), number);
        Augmenter::new().view(&images[image as usize], &recipe, size, &mut rng, &mut view).unwrap();
        assert_eq!(made, view);
    }
}

#[test]
fn images_are_not_uploaded_to_the_cpu() {
    let image = Image { width: 1, height: 1, pixels: vec![0; 3] };
    assert!(DeviceImages::on_gpu([image].iter(), &Device::flex()).is_none());
}
