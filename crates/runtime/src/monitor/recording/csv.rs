//! A recording as comma-separated values: a line per point, three columns per quantity.
//!
//! `from_s,to_s,samples`, then for each quantity that was ever known its last value under its own name, and `_least` and
//! `_most`, then `inferences_per_s` and `marks`: the labels of events since the point before, joined by `; ` and quoted
//! after RFC 4180. Cells of what is unknown are empty.

use std::io;

use super::Recording;
use crate::monitor::{Bucket, Quantity};

impl Recording {
    /// Writes it as comma-separated values with a line of names.
    ///
    /// # Errors
    /// Whatever `out` says.
    pub fn write_csv(&self, mut out: impl io::Write) -> io::Result<()> {
        let quantities: Vec<Quantity> = self.quantities().collect();
        let names = quantities.iter().map(|quantity| format!("{quantity},{quantity}_least,{quantity}_most,"));
        writeln!(out, "from_s,to_s,samples,{}inferences_per_s,marks", names.collect::<String>())?;
        let mut marks = self.marks.iter().peekable();
        let points = self.buckets().iter().zip(self.throughput()).enumerate();
        for (index, (bucket, throughput)) in points {
            write!(out, "{:.3},{:.3},{},", bucket.from.as_secs_f64(), bucket.to.as_secs_f64(), bucket.samples)?;
            for &quantity in &quantities {
                write_quantity(&mut out, bucket, quantity)?;
            }
            throughput.map_or(Ok(()), |rate| write!(out, "{rate:.3}"))?;
            let is_last = index + 1 == self.buckets().len();
            let until = bucket.to.as_secs_f64();
            let labels = std::iter::from_fn(|| marks.next_if(|mark| is_last || mark.at_s <= until));
            let labels: Vec<&str> = labels.map(|mark| mark.label.as_str()).collect();
            writeln!(out, ",{}", quoted(&labels.join("; ")))?;
        }
        out.flush()
    }
}

fn write_quantity(out: &mut impl io::Write, bucket: &Bucket, quantity: Quantity) -> io::Result<()> {
    for values in [&bucket.last, &bucket.least, &bucket.most] {
        match values.get(quantity) {
            Some(value) => write!(out, "{value},")?,
            None => out.write_all(b",")?,
        }
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
