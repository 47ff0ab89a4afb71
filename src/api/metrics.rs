//! `/metrics`: what the daemon's parts count, in Prometheus' text format, gathered when it is asked for.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Api;
use crate::http::Ask;
use crate::http::reply::{self, ReplyBody};
use crate::http::route::{Answer, Handler, Route};
use crate::passport::keys::KeyStats;
use crate::passport::snapshot::StoreCounts;
use crate::passport::{EntrySource, SYNC_BUCKETS_US, ScrubReport, WriterCounts};
use crate::problem::{Problem, Slug};
use crate::projection::{Consumer, ConsumerStatus};

const US_PER_SECOND: f64 = 1e6;
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub fn routes() -> Vec<Route<Api>> {
    vec![Route::get("/metrics", "metrics", "Prometheus metrics.", Handler::Read(metrics)).gives(&[(
        200,
        OPENMETRICS,
        "Metrics",
    )])]
}

/// `GET /metrics`
fn metrics(api: &Api, _: &Ask<'_>) -> Answer {
    let mut registry = Registry::with_prefix("coliseum");
    registry.register_collector(Box::new(Gathered::of(api)));
    let mut text = String::with_capacity(4096);
    prometheus_client::encoding::text::encode(&mut text, &registry)
        .map_err(|error| Problem::new(Slug::Internal, format!("The metrics cannot be written: {error}")))?;
    Ok(reply::with_body(hyper::StatusCode::OK, OPENMETRICS, ReplyBody::whole(text)))
}

/// All figures of one moment.
#[derive(Debug)]
struct Gathered {
    head: u64,
    segments: usize,
    writable: bool,
    heartbeat_seconds: f64,
    free_bytes: Option<u64>,
    min_free_bytes: u64,
    writer: WriterCounts,
    keys: KeyStats,
    consumers: Vec<ConsumerStatus>,
    scrub: ScrubReport,
    unconverted: u64,
    artists: usize,
    snapshots: StoreCounts,
}

impl Gathered {
    fn of(api: &Api) -> Gathered {
        let view = api.view();
        Gathered {
            head: api.log.durable().get(),
            segments: api.log.segments().len(),
            writable: api.writer.read_only().is_none(),
            heartbeat_seconds: api.writer.heartbeat_at().micros() as f64 / US_PER_SECOND,
            free_bytes: api.log.free_bytes().ok(),
            min_free_bytes: api.min_free_bytes,
            writer: api.writer.counts(),
            keys: api.key_stats.stats(),
            consumers: api.consumers.iter().map(Consumer::status).collect(),
            scrub: api.scrub.report(),
            unconverted: view.unconverted(),
            artists: view.cards().len(),
            snapshots: api.snapshots.counts(),
        }
    }
}

impl Collector for Gathered {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut gauge = |name: &str, help: &str, value: f64| {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        gauge("log_head_seq", "Seq of the last event that is on disk.", self.head as f64)?;
        gauge("log_segments", "Segment files of the log.", self.segments as f64)?;
        gauge("log_writable", "1 while the log takes writes.", f64::from(u8::from(self.writable)))?;
        gauge(
            "writer_heartbeat_timestamp_seconds",
            "When the thread that writes the log came round last; it does five times a second.",
            self.heartbeat_seconds,
        )?;
        // What cannot be read is left out: a 0 would tell of a full disk.
        if let Some(free) = self.free_bytes {
            gauge("disk_free_bytes", "Free space on the log's disk.", free as f64)?;
        }
        gauge("disk_min_free_bytes", "Free space under which the log takes no writes.", self.min_free_bytes as f64)?;
        gauge("keys_in_runs", "Idempotency keys in sorted runs.", self.keys.run_keys as f64)?;
        gauge("key_runs", "Sorted runs of idempotency keys.", self.keys.runs as f64)?;
        gauge("keys_disk_bytes", "Size of those runs on disk.", self.keys.disk_bytes as f64)?;
        gauge("keys_memory_bytes", "Size of their directories in memory.", self.keys.memory_bytes as f64)?;
        gauge("artists", "Artists that the log has named.", self.artists as f64)?;
        gauge(
            "unconverted_events",
            "Events that scored nothing for want of a rate of their currency.",
            self.unconverted as f64,
        )?;
        let last_snapshot = self.snapshots.last_success.map_or(0, |at| at.micros().div_euclid(1_000_000));
        gauge(
            "snapshot_last_success_timestamp_seconds",
            "When the newest snapshot was taken, in seconds since 1970; 0: none yet.",
            last_snapshot as f64,
        )?;
        gauge("scrub_damaged", "Sealed segments that the scrub has found damaged.", self.scrub.damaged as f64)?;
        let last_complete = self.scrub.last_complete.map_or(0.0, |at| at.micros() as f64 / 1e6);
        gauge(
            "scrub_last_complete_timestamp_seconds",
            "When the last whole pass of the scrub ended, in Unix time; 0 before the first.",
            last_complete,
        )?;

        let mut counter = |name: &str, help: &str, value: u64| {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        counter("events_stored", "Events stored since the start.", self.writer.events)?;
        counter("snapshot_failures", "Snapshots that failed since the start.", self.snapshots.failures)?;
        counter("log_bytes_written", "Bytes written to the log since the start.", self.writer.bytes)?;
        counter("scrub_bytes", "Bytes that the scrub has read since the start.", self.scrub.bytes)?;
        counter(
            "scrub_mended",
            "Damaged indexes and runs of keys that the scrub had made again since the start.",
            self.scrub.mended,
        )?;
        self.encode_consumers(&mut encoder)?;
        self.encode_syncs(encoder)
    }
}

impl Gathered {
    /// One sample a consumer.
    fn encode_consumers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut gauges = |name: &str, help: &str, value: &dyn Fn(&ConsumerStatus) -> f64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for consumer in &self.consumers {
                ConstGauge::new(value(consumer)).encode(family.encode_family(&[("consumer", consumer.name)])?)?;
            }
            Ok(())
        };
        gauges("consumer_applied_seq", "Last event that the projection holds.", &|consumer| {
            consumer.applied.get() as f64
        })?;
        gauges("consumer_lag_events", "Events on disk that the projection does not hold yet.", &|consumer| {
            self.head.saturating_sub(consumer.applied.get()) as f64
        })?;
        gauges("consumer_dead_letters", "Events that it could not fold.", &|consumer| consumer.dead_letters as f64)?;
        gauges(
            "consumer_running",
            "1 while it follows the log; 0 while it starts, rebuilds or is held up.",
            &|consumer| f64::from(u8::from(consumer.state == "running")),
        )
    }

    fn encode_syncs(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = SYNC_BUCKETS_US.iter().map(|us| *us as f64 / US_PER_SECOND);
        let within: u64 = self.writer.sync_buckets.iter().sum();
        let slower = self.writer.syncs.saturating_sub(within);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.writer.sync_buckets).chain([(f64::INFINITY, slower)]).collect();
        let mut metric = encoder.encode_descriptor(
            "log_sync_seconds",
            "Time of one sync of the log.",
            None,
            MetricType::Histogram,
        )?;
        let sum = self.writer.sync_us as f64 / US_PER_SECOND;
        metric.encode_histogram::<NoLabelSet>(sum, self.writer.syncs, &buckets, None)
    }
}
