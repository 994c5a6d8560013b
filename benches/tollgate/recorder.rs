//! A recorder that keeps the values of one histogram as they were recorded, where the exporter's buckets would not do.

use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::Outcome;

/// The values of one histogram. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Samples(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<f64>>);

struct OnlyOne {
    name: &'static str,
    samples: Samples,
}

impl Samples {
    /// Records this histogram, and nothing else, from now on in the whole process.
    pub fn of(name: &'static str) -> Outcome<Self> {
        let samples = Self::default();
        let recorder = OnlyOne {
            name,
            samples: samples.clone(),
        };
        metrics::set_global_recorder(recorder).map_err(|_| "there is a recorder of metrics already")?;
        Ok(samples)
    }

    /// What was recorded since this was asked last.
    pub fn take(&self) -> Vec<f64> {
        std::mem::take(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl HistogramFn for Kept {
    fn record(&self, value: f64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(value);
    }
}

impl Recorder for OnlyOne {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        if key.name() == self.name {
            Histogram::from_arc(Arc::clone(&self.samples.0))
        } else {
            Histogram::noop()
        }
    }
}
