//! What operators are given to watch it with: metrics, a dashboard, and alerts.

mod alerts;
mod dashboard;
mod scraping;
