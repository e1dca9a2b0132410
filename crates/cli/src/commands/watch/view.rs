//! What is drawn: the ledger by class, memory and throughput over time, marks. Pure: a frame in, a frame out.

use super::shown;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Sparkline};
use trtforge_builder::format_bytes;
use trtforge_runtime::Class;
use trtforge_runtime::ledger::Plan;
use trtforge_runtime::monitor::{Bucket, Mark, Quantity, Recorder, Values};

/// Width of names and figures beside a bar.
const BESIDE_BAR: u16 = 14 + 12;
/// Less is no graph.
const GRAPH_HEIGHT: Constraint = Constraint::Min(3);

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, pid: u32, recorder: &Recorder, rate: Option<f64>) {
    let latest = recorder.latest().copied().unwrap_or_default();
    let ledger = latest.values.ledger();
    let graphs: Vec<Graph> = graphs(recorder, rate);
    let marks = recorder.marks().len().min(4) as u16;
    let with_budget = u16::from(latest.values.get(Quantity::DeviceBudget).is_some());
    let ledger_height = if ledger.is_some() { Class::ALL.len() as u16 + with_budget + 2 } else { 0 };
    let mut heights = vec![Constraint::Length(1), Constraint::Length(ledger_height)];
    heights.extend(graphs.iter().map(|_| GRAPH_HEIGHT));
    heights.push(Constraint::Length(if marks > 0 { marks + 2 } else { 0 }));
    let areas = Layout::vertical(heights).split(frame.area());
    let heading = format!("{}   pid {pid}   {:.1} s   q quits", recorder.title(), latest.at.as_secs_f64());
    frame.render_widget(Line::styled(heading, Style::new().bold()), areas[0]);
    if let Some(held) = ledger {
        draw_ledger(frame, areas[1], &held, &latest.values);
    }
    graphs.iter().zip(&areas[2..]).for_each(|(graph, area)| graph.draw(frame, *area));
    if marks > 0 {
        draw_marks(frame, areas[areas.len() - 1], recorder.marks());
    }
}

fn draw_ledger(frame: &mut Frame<'_>, area: Rect, held: &Plan, values: &Values) {
    let budget = values.get(Quantity::DeviceBudget);
    let title = match budget {
        Some(budget) => format!(" ledger: {} of {} ", format_bytes(held.device_bytes()), format_bytes(budget)),
        None => format!(" ledger: {}, no budget ", format_bytes(held.device_bytes())),
    };
    let whole = budget.unwrap_or(0).max(held.total_bytes()).max(1);
    let room = area.width.saturating_sub(BESIDE_BAR + 4);
    let row = |class: Class| {
        let bar = bar(held[class], whole, room);
        format!("{:<14}{bar:<width$}{:>12}", class.to_string(), format_bytes(held[class]), width = usize::from(room))
    };
    let mut rows: Vec<Line<'_>> = Class::ALL.into_iter().map(|class| Line::raw(row(class))).collect();
    if let Some(budget) = budget {
        let share = format!("{:.0} % of the budget", 100.0 * held.device_bytes() as f64 / budget.max(1) as f64);
        let style = if held.device_bytes() > budget { Style::new().fg(Color::Red) } else { Style::new() };
        rows.push(Line::styled(format!("{:<14}{share}", "device"), style));
    }
    frame.render_widget(Paragraph::new(rows).block(Block::bordered().title(title)), area);
}

/// A bar of eighths; what is held at all is seen.
fn bar(value: u64, whole: u64, room: u16) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (value as f64 / whole as f64 * f64::from(room) * 8.0).round() as usize;
    let eighths = eighths.max(usize::from(value > 0));
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// A value over time.
struct Graph {
    title: String,
    values: Vec<u64>,
    colour: Color,
}

fn graphs(recorder: &Recorder, rate: Option<f64>) -> Vec<Graph> {
    let bytes = |quantity: Quantity, name: &str, colour| {
        let values = points(recorder, |bucket| bucket.most.get(quantity));
        let (now, most) = (recorder.latest()?.values.get(quantity)?, values.iter().max()?);
        let title = format!(" {name}: {}, at most {} ", shown(quantity, now), shown(quantity, *most));
        Some(Graph { title, values, colour })
    };
    let memory = [
        bytes(Quantity::DeviceUsed, "device, used by all", Color::Magenta),
        bytes(Quantity::GpuProcess, "process, on GPUs", Color::Yellow),
        bytes(Quantity::Resident, "process, resident", Color::Blue),
    ];
    memory.into_iter().flatten().chain(throughput(recorder, rate)).collect()
}

fn points(recorder: &Recorder, value: impl Fn(&Bucket) -> Option<u64>) -> Vec<u64> {
    recorder.timeline().buckets().iter().filter_map(value).collect()
}

fn throughput(recorder: &Recorder, rate: Option<f64>) -> Option<Graph> {
    let values = &recorder.latest()?.values;
    let done = values.get(Quantity::Inferences)?;
    let batch = values.get(Quantity::Batch).map_or_else(String::new, |batch| format!(", batch {batch}"));
    let rate = rate.map_or_else(String::new, |rate| format!("{rate:.1}/s, "));
    let buckets = recorder.timeline().buckets();
    let rates = buckets.windows(2).filter_map(|pair| Some(pair[1].inferences_per_s(Some(&pair[0]))? as u64));
    let title = format!(" inferences: {rate}{done} in all{batch} ");
    Some(Graph { title, values: rates.collect(), colour: Color::Green })
}

impl Graph {
    fn draw(&self, frame: &mut Frame<'_>, area: Rect) {
        let block = Block::bordered().title(self.title.as_str());
        let room = usize::from(block.inner(area).width);
        let newest = &self.values[self.values.len().saturating_sub(room)..];
        let scaled = scaled(newest);
        let line = Sparkline::default().data(&scaled).max(SCALE).style(Style::new().fg(self.colour));
        frame.render_widget(line.block(block), area);
    }
}

/// Height of the highest point.
const SCALE: u64 = 1000;

/// From a tenth of the height for the least to all of it for the most, so that small changes of large values are seen; a value
/// that does not change is half as high.
fn scaled(values: &[u64]) -> Vec<u64> {
    let (least, most) = (values.iter().min().copied().unwrap_or(0), values.iter().max().copied().unwrap_or(0));
    let height = |value: u64| match most - least {
        0 => SCALE / 2,
        span => SCALE / 10 + ((value - least) as f64 / span as f64 * (SCALE * 9 / 10) as f64) as u64,
    };
    values.iter().map(|&value| height(value)).collect()
}

fn draw_marks(frame: &mut Frame<'_>, area: Rect, marks: &[Mark]) {
    let room = usize::from(area.height.saturating_sub(2));
    let newest = &marks[marks.len().saturating_sub(room)..];
    let rows: Vec<Line<'_>> =
        newest.iter().map(|mark| Line::raw(format!("{:>8.1} s  {}", mark.at_s, mark.label))).collect();
    frame.render_widget(Paragraph::new(rows).block(Block::bordered().title(" marks ")), area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::time::Duration;
    use trtforge_runtime::monitor::{MonitorOptions, Sample};

    const MIB: u64 = 1 << 20;

    fn drawn(width: u16, height: u16, recorder: &Recorder) -> TestBackend {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("it takes everything");
        terminal.draw(|frame| draw(frame, 4711, recorder, Some(81.25))).expect("it is drawn");
        terminal.backend().clone()
    }

    fn sample(index: u64, more: impl Fn(&mut Values)) -> Sample {
        let mut values = Values::default();
        values.set(Quantity::Resident, 100 * MIB + index * index * MIB);
        more(&mut values);
        Sample { at: Duration::from_millis(100 * index), values }
    }

    #[test]
    fn a_process_of_ours_with_a_budget() {
        let mut recorder = Recorder::new("bench yolox_nano.onnx", &MonitorOptions::default());
        for index in 0..60 {
            recorder.push(sample(index, |values| {
                values.set_ledger(&(Plan::of(Class::Weights, 48 * MIB) + Plan::of(Class::Io, index * MIB / 4)));
                values.set(Quantity::DeviceBudget, 96 * MIB);
                values.set(Quantity::DeviceUsed, 2048 * MIB);
                values.set(Quantity::Batch, 4);
                values.set(Quantity::Inferences, 8 * index + (index % 7));
            }));
        }
        for (at, label) in [(0.1, "batch 4, 1 stream: warm-up"), (2.5, "batch 4, 1 stream: measure")] {
            recorder.mark(Mark::new(Duration::from_secs_f64(at), label));
        }
        insta::assert_snapshot!("ours", drawn(72, 28, &recorder));
        // Small terminals show less, and none is too small.
        for (width, height) in [(40, 12), (10, 3), (1, 1)] {
            drawn(width, height, &recorder);
        }
    }

    #[test]
    fn a_process_of_another_program() {
        let mut recorder = Recorder::new("sleep", &MonitorOptions::default());
        (0..30).for_each(|index| recorder.push(sample(index, |_| ())));
        insta::assert_snapshot!("another", drawn(60, 8, &recorder));
        insta::assert_snapshot!("nothing_yet", drawn(60, 3, &Recorder::new("sleep", &MonitorOptions::default())));
    }

    #[test]
    fn bars_show_what_is_held_at_all_and_fill_at_the_whole() {
        assert_eq!(bar(0, 100, 10), "");
        assert_eq!(bar(1, 1_000_000, 10), "▏");
        assert_eq!(bar(50, 100, 10), "█████");
        assert_eq!(bar(100, 100, 10), "██████████");
    }
}
