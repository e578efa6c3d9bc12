//! A sparkline: the last samples of a probe in one row.
//!
//! Steady is low and a spike is high: the scale is the larger of the greatest value and four times the
//! median, so a probe that always takes 31 ms does not look like one that is on fire. A failure is a
//! cross, so that it can be told from a high value without colour too; a missed sample is blank.

use ratatui::text::Span;

use crate::theme::Theme;
use crate::theme::role::Role;

const UNICODE: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 8] = ['.', ':', '-', '=', '+', '*', '#', '#'];

/// One sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sample {
    /// A measured value, not negative.
    Value(f64),
    /// The check failed.
    Fail,
    /// There was none.
    Missing,
}

/// Draws the newest `width` samples, newest at the right, padded with blanks at the left.
pub fn spans(theme: &Theme, samples: &[Sample], width: usize) -> Vec<Span<'static>> {
    let shown = &samples[samples.len().saturating_sub(width)..];
    let scale = scale(shown);
    let steps = if theme.ascii { ASCII } else { UNICODE };
    let mut runs: Vec<(Role, String)> = vec![(Role::Spark, " ".repeat(width - shown.len()))];
    for sample in shown {
        let (role, it) = match *sample {
            Sample::Value(value) => (Role::Spark, steps[step(value, scale)]),
            Sample::Fail => (Role::SparkFail, if theme.ascii { 'x' } else { '×' }),
            Sample::Missing => (Role::Spark, ' '),
        };
        match runs.last_mut() {
            Some((last, text)) if *last == role => text.push(it),
            _ => runs.push((role, it.to_string())),
        }
    }
    runs.retain(|(_, text)| !text.is_empty());
    runs.into_iter().map(|(role, text)| Span::styled(text, theme.style(role))).collect()
}

fn scale(samples: &[Sample]) -> f64 {
    let mut values: Vec<f64> = samples
        .iter()
        .filter_map(|it| match it {
            Sample::Value(value) if value.is_finite() => Some(*value),
            _ => None,
        })
        .collect();
    values.sort_by(f64::total_cmp);
    let (Some(greatest), Some(median)) = (values.last(), values.get(values.len().saturating_sub(1) / 2)) else {
        return 0.0;
    };
    greatest.max(4.0 * median)
}

fn step(value: f64, scale: f64) -> usize {
    if scale <= 0.0 || !value.is_finite() {
        return 0;
    }
    // A float cast saturates, so no value can leave the table.
    ((value / scale * 8.0) as usize).min(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(theme: &Theme, samples: &[Sample], width: usize) -> String {
        spans(theme, samples, width).iter().map(|it| it.content.as_ref()).collect()
    }

    #[test]
    fn steady_is_low_and_a_spike_is_high() {
        let theme = Theme::mono();
        assert_eq!(text(&theme, &[Sample::Value(31.0); 5], 5), "▃▃▃▃▃");
        let mut samples = vec![Sample::Value(31.0); 4];
        samples.push(Sample::Value(4000.0));
        assert_eq!(text(&theme, &samples, 5), "▁▁▁▁█");
    }

    #[test]
    fn a_failure_is_told_from_a_high_value_without_colour() {
        let samples = [Sample::Value(1.0), Sample::Value(9.0), Sample::Fail, Sample::Missing];
        let drawn = spans(&Theme::mono(), &samples, 4);
        assert_eq!(drawn.len(), 3);
        assert_eq!((drawn[0].content.as_ref(), drawn[1].content.as_ref()), ("▁█", "×"));
    }

    #[test]
    fn it_is_as_wide_as_asked_and_shows_the_newest() {
        let theme = Theme::mono().with_ascii(true);
        assert_eq!(text(&theme, &[Sample::Fail], 3), "  x");
        let samples = [Sample::Fail, Sample::Value(0.0), Sample::Value(8.0)];
        assert_eq!(text(&theme, &samples, 2), ".#");
        assert_eq!(text(&theme, &[], 0), "");
    }
}
