//! Whatever comes in: bounded, finite, fading, local, and the same after a trip through JSON.
use proptest::prelude::*;

use super::*;

const SIZE: usize = 6;
const NAMES: [&str; 4] = ["math", "code", "sql", "none"];
const DAY: u64 = 86_400;

/// Wide regions, so that few of them meet often; numbers that are easy to follow by hand.
fn settings() -> Settings {
    Settings { bound: 4.0, rate: 2.0, near: 0.75, far: 0.45, ..Settings::default() }
}

fn empty() -> HebbianBias {
    HebbianBias::new("test-1", SIZE, settings()).unwrap()
}

fn feedback<'a>(embedding: &'a [f32], rewards: &'a [(&'a str, f32)]) -> Feedback<'a> {
    Feedback { embedding, rewards, label: "a request", now: 1000 * DAY }
}

/// A bias that has learnt this much of one request.
fn taught(embedding: &[f32], specialist: &str, rewards: &[f32]) -> HebbianBias {
    let mut bias = empty();
    for &reward in rewards {
        bias.learn(&feedback(embedding, &[(specialist, reward)])).unwrap();
    }
    bias
}

type Event = (Vec<f32>, usize, f32, u64);

fn direction() -> impl Strategy<Value = Vec<f32>> {
    // Few directions and their neighbours, so that regions meet, move and merge.
    (prop::collection::vec(-1.0f32..1.0, SIZE), 0..SIZE, 0.0f32..4.0).prop_map(|(mut vector, axis, pull)| {
        vector[axis] += pull;
        vector
    })
}

fn history(longest: usize) -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec((direction(), 0..NAMES.len(), -1.0f32..=1.0, 0..400 * DAY), 0..longest)
}

fn lived(bias: &mut HebbianBias, events: &[Event]) {
    for (embedding, name, reward, now) in events {
        let learned = bias
            .learn(&Feedback { now: *now, ..feedback(embedding, &[(NAMES[*name], *reward)]) })
            .expect("sound feedback");
        assert!(learned.before[0].is_finite() && learned.after[0].is_finite());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_history_passes_the_bound_or_the_number_of_regions(events in history(60), place in direction(), most in 1usize..5) {
        let settings = Settings { most_regions: most, ..settings() };
        let mut bias = HebbianBias::new("test-1", SIZE, settings).unwrap();
        lived(&mut bias, &events);
        prop_assert!(bias.len() <= most);
        let found = bias.bias(&place, &NAMES, 0).unwrap();
        prop_assert!(found.iter().all(|value| value.abs() <= settings.bound));
        for view in bias.describe(0) {
            prop_assert!(view.ties.iter().all(|(_, value, _)| value.abs() <= settings.bound));
        }
    }

    #[test]
    fn every_bias_fades_and_keeps_its_sign(events in history(30), place in direction(), days in 1u64..300) {
        let mut bias = empty();
        lived(&mut bias, &events);
        let (soon, later) = (400 * DAY, (400 + days) * DAY);
        let now = bias.bias(&place, &NAMES, soon).unwrap();
        let then = bias.bias(&place, &NAMES, later).unwrap();
        let left = 0.5f32.powf(days as f32 / bias.settings().half_life_days);
        for (before, after) in now.iter().zip(&then) {
            prop_assert!(after.abs() <= before.abs());
            prop_assert!((after - before * left).abs() <= 1e-4, "{before} to {after} in {days} days");
        }
    }

    #[test]
    fn the_order_of_the_names_changes_nothing(events in history(30), place in direction(), turn in 0..NAMES.len()) {
        let mut bias = empty();
        lived(&mut bias, &events);
        let mut turned = NAMES;
        turned.rotate_left(turn);
        let plain = bias.bias(&place, &NAMES, 0).unwrap();
        let mut other = bias.bias(&place, &turned, 0).unwrap();
        other.rotate_right(turn);
        prop_assert_eq!(plain, other);
    }

    #[test]
    fn json_and_back_is_the_same(events in history(40)) {
        let mut bias = empty();
        lived(&mut bias, &events);
        let text = bias.to_json().unwrap();
        let back = empty().with_json(&text, u64::MAX).unwrap();
        prop_assert_eq!(&back, &bias);
        prop_assert_eq!(back.to_json().unwrap(), text);
    }

    #[test]
    fn learning_here_changes_nothing_there(here in history(20), there in history(20), place in direction()) {
        // Two halves of the space that no cosine connects.
        let first = |vector: &[f32]| [vector, &[0.0; SIZE]].concat();
        let second = |vector: &[f32]| [&[0.0; SIZE], vector].concat();
        let mut bias = HebbianBias::new("test-1", 2 * SIZE, settings()).unwrap();
        let moved = |events: &[Event], half: &dyn Fn(&[f32]) -> Vec<f32>| -> Vec<Event> {
            events.iter().map(|(embedding, name, reward, now)| (half(embedding), *name, *reward, *now)).collect()
        };
        lived(&mut bias, &moved(&there, &second));
        let before = bias.bias(&second(&place), &NAMES, 0).unwrap();
        lived(&mut bias, &moved(&here, &first));
        prop_assert_eq!(bias.bias(&second(&place), &NAMES, 0).unwrap(), before);
    }

    #[test]
    fn any_vector_is_learnt_from_or_refused(vector in prop::collection::vec(prop::num::f32::ANY, 0..2 * SIZE), reward in prop::num::f32::ANY) {
        let mut bias = empty();
        match bias.learn(&feedback(&vector, &[("math", reward)])) {
            Ok(learned) => prop_assert!(learned.after[0].abs() <= 4.0),
            Err(error) => prop_assert!(matches!(error, Error::Request { .. }), "{error}"),
        }
        let place = [1.0; SIZE];
        prop_assert!(bias.bias(&place, &NAMES, 0).unwrap().iter().all(|value| value.is_finite()));
    }

    #[test]
    fn a_damaged_file_is_refused_or_harmless(events in history(6), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bias = empty();
        lived(&mut bias, &events);
        let mut text = bias.to_json().unwrap().into_bytes();
        let place = cut.index(text.len());
        text[place] = byte;
        if let Ok(read) = empty().with_json(&String::from_utf8_lossy(&text), 1000 * DAY) {
            let values = read.bias(&[1.0; SIZE], &NAMES, 0).unwrap();
            prop_assert!(values.iter().all(|value| value.abs() <= 4.0));
        }
    }
}

#[test]
fn one_reward_is_the_rate_and_many_approach_the_bound() {
    let place = [0.6, 0.8, 0.0, 0.0, 0.0, 0.0];
    let after =
        |count: usize| taught(&place, "math", &vec![1.0; count]).bias(&place, &["math"], 1000 * DAY).unwrap()[0];
    assert!((after(1) - 2.0).abs() < 1e-6);
    // By hand: 2 loses 2 %, then gains 2 (1 - 1.96 / 4).
    assert!((after(2) - 2.98).abs() < 1e-5);
    assert!(after(5) > after(3) && after(3) > after(2));
    assert!((3.7..4.0).contains(&after(50)));
}

#[test]
fn praise_and_blame_in_one_are_the_same_in_any_order() {
    let place = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let mut biases = [[("math", 1.0), ("code", -0.5)], [("code", -0.5), ("math", 1.0)]].map(|rewards| {
        let mut bias = empty();
        bias.learn(&feedback(&place, &rewards)).unwrap();
        bias
    });
    let [one, other] = biases.each_ref().map(|bias| bias.bias(&place, &["math", "code"], 1000 * DAY).unwrap());
    assert_eq!((one.as_slice(), one.as_slice()), (other.as_slice(), [2.0, -1.0].as_slice()));
    assert_eq!(biases[0].describe(0)[0].feedbacks, 1);
    let twice = [("math", 1.0), ("math", -1.0)];
    assert!(biases[0].learn(&feedback(&place, &twice)).unwrap_err().to_string().contains("twice"));
    assert!(biases[0].learn(&feedback(&place, &[])).is_err());
}

#[test]
fn blame_takes_praise_back_and_zero_teaches_nothing() {
    let place = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let balanced = taught(&place, "math", &[1.0, -1.0]).bias(&place, &["math"], 1000 * DAY).unwrap()[0];
    assert!((-1.1..0.0).contains(&balanced), "{balanced}");
    let mut bias = empty();
    assert_eq!(bias.learn(&feedback(&place, &[("math", 0.0)])).unwrap().region, None);
    assert!(bias.is_empty());
}

#[test]
fn the_effect_ends_at_far_and_is_whole_from_near_on() {
    let center = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let bias = taught(&center, "math", &[1.0]);
    let at = |cosine: f32| {
        let request = [cosine, (1.0 - cosine * cosine).sqrt(), 0.0, 0.0, 0.0, 0.0];
        bias.bias(&request, &["math"], 1000 * DAY).unwrap()[0]
    };
    let settings = settings();
    assert_eq!((at(settings.far), at(0.0), at(-1.0)), (0.0, 0.0, 0.0));
    assert!((at(settings.near + 1e-4) - 2.0).abs() < 1e-5);
    assert!((at((settings.near + settings.far) / 2.0) - 1.0).abs() < 1e-3);
}

#[test]
fn neighbours_merge_and_the_weakest_makes_room() {
    let degrees = |angle: f32| [angle.to_radians().cos(), angle.to_radians().sin(), 0.0, 0.0, 0.0, 0.0];
    let mut bias = empty();
    bias.learn(&feedback(&degrees(0.0), &[("math", 1.0)])).unwrap();
    let second = bias.learn(&feedback(&degrees(60.0), &[("math", 1.0)])).unwrap();
    assert!(second.born && bias.len() == 2);
    // The second region's centre is drawn to the first.
    let merged = (0..9).find_map(|_| bias.learn(&feedback(&degrees(31.0), &[("math", 1.0)])).unwrap().merged);
    assert_eq!((merged, bias.len()), (Some(2), 1));
    let feedbacks: u32 = bias.describe(1000 * DAY)[0].feedbacks;
    assert!(feedbacks >= 3);

    let settings = Settings { most_regions: 2, ..settings() };
    let mut full = HebbianBias::new("test-1", SIZE, settings).unwrap();
    let axis = |index: usize| std::array::from_fn::<f32, SIZE, _>(|place| f32::from(u8::from(place == index)));
    for (index, reward) in [(0, 1.0), (1, 0.2), (2, 1.0)] {
        let learned = full.learn(&feedback(&axis(index), &[("math", reward)])).unwrap();
        assert_eq!(learned.forgotten, (index == 2).then_some(2));
    }
    assert_eq!(full.describe(1000 * DAY).iter().map(|view| view.id).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn reset_takes_what_is_named() {
    let axis = |index: usize| std::array::from_fn::<f32, SIZE, _>(|place| f32::from(u8::from(place == index)));
    let mut bias = empty();
    for (index, name) in [(0, "math"), (0, "code"), (1, "math")] {
        bias.learn(&feedback(&axis(index), &[(name, 1.0)])).unwrap();
    }
    assert_eq!(bias.clone().reset(None, None), 3);
    assert_eq!(bias.clone().reset(Some(2), None), 1);
    assert_eq!(bias.clone().reset(Some(9), None), 0);
    assert_eq!(bias.reset(None, Some("math")), 2);
    assert_eq!(bias.len(), 1, "a region without ties is gone");
    assert!(bias.bias(&axis(0), &["code"], 1000 * DAY).unwrap()[0] > 1.0);
}

#[test]
fn hostile_files_are_refused_by_name() {
    let sound = taught(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0], "math", &[1.0]).to_json().unwrap();
    let cases = [
        ("not JSON at all", "", "expected"),
        ("\"version\":1", "\"version\":2", "version 2"),
        ("\"synapse-feedback\"", "\"other\"", "`other`"),
        ("\"space\":\"test-1\"", "\"space\":\"test-2\"", "`test-2`"),
        ("\"dimensions\":6", "\"dimensions\":7", "7"),
        ("\"center\":[1.0", "\"center\":[0.5", "length 1"),
        ("\"center\":[1.0", "\"center\":[1e39", "length 1"),
        ("\"center\":[1.0", "\"center\":[1.0,0.0", "expected 6 numbers"),
        ("\"bias\":2.0", "\"bias\":2e9", "-4 to 4"),
        ("\"bias\":2.0", "\"bias\":2.0,\"more\":1", "more"),
        ("\"specialist\":\"math\"", "\"specialist\":\"\\u001b[2J\"", "control characters"),
        ("\"label\":\"a request\"", "\"label\":\"a\\nb\"", "one short line"),
        ("\"id\":1", "\"id\":18446744073709551615", "too large"),
        ("\"feedbacks\":1", "\"feedbacks\":-1", "-1"),
    ];
    for (found, replaced, said) in cases {
        let text = if found.starts_with('"') { sound.replacen(found, replaced, 1) } else { replaced.to_owned() };
        assert_ne!(text, sound, "{found}");
        let said_so = empty().with_json(&text, 0).unwrap_err().to_string();
        assert!(said_so.contains(if text.is_empty() { "EOF" } else { said }), "{found}: {said_so}");
    }
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(empty().with_json(&nested, 0).is_err());
    let twice = sound.replacen("\"ties\":[", "\"ties\":[{\"specialist\":\"math\",\"bias\":1.0,\"feedbacks\":1},", 1);
    assert!(empty().with_json(&twice, 0).unwrap_err().to_string().contains("twice"));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let wrong = [
        Settings { bound: f32::NAN, ..settings() },
        Settings { rate: 5.0, ..settings() },
        Settings { far: 0.8, ..settings() },
        Settings { half_life_days: 0.0, ..settings() },
        Settings { most_regions: 0, ..settings() },
    ];
    for settings in wrong {
        assert!(matches!(HebbianBias::new("", 4, settings), Err(Error::Request { .. })), "{settings:?}");
    }
    assert!(HebbianBias::new("", 0, settings()).is_err());
    let long = "x".repeat(LONGEST_NAME + 1);
    assert!(empty().learn(&feedback(&[1.0; SIZE], &[(&long, 1.0)])).is_err());
    assert!(empty().learn(&feedback(&[0.0; SIZE], &[("math", 1.0)])).is_err());
}

#[test]
fn labels_are_one_line_and_short() {
    let mut bias = empty();
    let label = format!("  two\nlines \u{1b}[31m{}", "é".repeat(200));
    bias.learn(&Feedback { label: &label, ..feedback(&[1.0; SIZE], &[("math", 1.0)]) }).unwrap();
    let shown = bias.describe(0)[0].label.clone();
    assert!(shown.starts_with("two lines [31mé") && shown.chars().count() == 80, "{shown}");
    assert!(empty().with_json(&bias.to_json().unwrap(), u64::MAX).is_ok());
}
