//! A simulated user with stable preferences: followed within 20 feedbacks, and nobody else notices.
use super::*;
use crate::sample::random::uniform;

const SIZE: usize = 96;
const TOPICS: usize = 24;
const SPECIALISTS: [&str; 6] = ["general", "math", "code", "sql", "writing", "language"];
const FEEDBACKS: u64 = 20;
/// Topics whose requests the user wants answered by another specialist than the coordinator's choice.
const REROUTED: usize = 2;

/// Requests of a topic scatter around its direction: two of the same topic have a cosine of about 0.6.
struct World {
    seed: u64,
    topics: Vec<Vec<f32>>,
}

impl World {
    fn new(seed: u64) -> Self {
        let topics = (0..TOPICS).map(|topic| unit(&noise(seed, topic as u64, 0)).unwrap()).collect();
        Self { seed, topics }
    }

    fn request(&self, topic: usize, number: u64) -> Vec<f32> {
        let scatter = unit(&noise(self.seed, topic as u64, 1 + number)).unwrap();
        let mixed: Vec<f32> = self.topics[topic].iter().zip(&scatter).map(|(own, noise)| own + 0.8 * noise).collect();
        unit(&mixed).unwrap()
    }

    /// What the coordinator thinks: sure of its choice, by 3 to 5 logits (87 to 97 %).
    fn logits(&self, topic: usize, number: u64) -> Vec<f32> {
        let margin = 3.0 + 2.0 * uniform(self.seed, topic as u64, number * 1000) as f32;
        (0..SPECIALISTS.len()).map(|name| if name == topic % SPECIALISTS.len() { margin } else { 0.0 }).collect()
    }

    fn choice(&self, bias: &HebbianBias, topic: usize, number: u64) -> usize {
        let moved = bias.bias(&self.request(topic, number), &SPECIALISTS, 0).unwrap();
        let scores: Vec<f32> = self.logits(topic, number).iter().zip(moved).map(|(logit, bias)| logit + bias).collect();
        (0..scores.len()).max_by(|&one, &other| scores[one].total_cmp(&scores[other])).unwrap()
    }
}

fn noise(seed: u64, topic: u64, number: u64) -> Vec<f32> {
    let draw = |place: usize| {
        (0..12u64).map(|part| uniform(seed, topic * 7919 + number, place as u64 * 12 + part) as f32 - 0.5).sum()
    };
    (0..SIZE).map(draw).collect()
}

fn wanted(topic: usize) -> usize {
    (topic + usize::from(topic < REROUTED)) % SPECIALISTS.len()
}

/// Praises the right one, and blames another that was chosen.
fn react(bias: &mut HebbianBias, embedding: &[f32], chosen: &str, right: &str) {
    let rewards = [(right, 1.0), (chosen, -1.0)];
    let rewards = if chosen == right { &rewards[..1] } else { &rewards[..] };
    bias.learn(&Feedback { embedding, rewards, label: "", now: 0 }).unwrap();
}

/// The user corrects what is wrong and praises what is right, over requests of the rerouted topics in turn.
fn taught(world: &World) -> HebbianBias {
    let mut bias =
        HebbianBias::new("simulated", SIZE, Settings { near: 0.75, far: 0.45, ..Settings::default() }).unwrap();
    for number in 0..FEEDBACKS {
        let topic = number as usize % REROUTED;
        let embedding = world.request(topic, number);
        let chosen = world.choice(&bias, topic, number);
        react(&mut bias, &embedding, SPECIALISTS[chosen], SPECIALISTS[wanted(topic)]);
    }
    bias
}

#[test]
fn stable_preferences_are_followed_within_twenty_feedbacks_and_other_topics_keep_their_answers() {
    for seed in 0..5 {
        let world = World::new(seed);
        let (bias, fresh) = (taught(&world), 10_000..10_050u64);
        for topic in 0..TOPICS {
            let right = fresh.clone().filter(|&number| world.choice(&bias, topic, number) == wanted(topic)).count();
            assert!(right >= 48, "seed {seed}, topic {topic}: {right} of 50");
        }
        assert!(bias.len() <= 6, "{} regions for two topics", bias.len());
    }
}

#[test]
fn a_user_who_changes_their_mind_is_followed_again() {
    let world = World::new(7);
    let mut bias = taught(&world);
    for number in 100..100 + FEEDBACKS {
        let (embedding, chosen) = (world.request(0, number), world.choice(&bias, 0, number));
        react(&mut bias, &embedding, SPECIALISTS[chosen], "writing");
    }
    let followed = (10_000..10_050).filter(|&number| SPECIALISTS[world.choice(&bias, 0, number)] == "writing").count();
    assert!(followed >= 48, "{followed} of 50");
}
