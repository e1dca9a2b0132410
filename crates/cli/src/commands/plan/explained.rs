//! Why activation memory is as large as it is: the account beside TensorRT's figure.

use crate::plots::Curve;
use crate::table::Table;
use trtforge_builder::activation::{ActivationAccount, Charge, Moment};
use trtforge_builder::format_bytes;

/// Charges shown in a table; `--json` has them all.
const SHOWN: usize = 12;

/// What the columns of [`table`] mean.
pub const LEGEND: &str = "\nLEAST: values between nodes, nothing fused. EXPLAINED: TENSORS, WORKSPACE and GAPS at the peak, as far as TensorRT's ways are known\n";

/// A table for [`cells`], with columns before them.
pub fn table(before: &[&str]) -> Table {
    let headers = [">LEAST", ">TENSORS", ">WORKSPACE", ">GAPS", ">EXPLAINED", ">TENSORRT", ">RATIO", "PEAK AT"];
    Table::new(&[before, &headers].concat())
}

/// The account's sums, TensorRT's figure, its ratio to the sum and the kernel at the peak.
pub fn cells(account: &ActivationAccount, taken_bytes: u64) -> Vec<String> {
    let sums = [
        account.bound_bytes,
        account.tensors_bytes,
        account.workspace_bytes,
        account.gaps_bytes,
        account.explained_bytes,
        taken_bytes,
    ];
    let ratio = format!("{:.2}", ratio(account, taken_bytes));
    sums.map(format_bytes).into_iter().chain([ratio, account.kernel.clone()]).collect()
}

/// What is taken over what is explained; 1 where both are nothing.
pub fn ratio(account: &ActivationAccount, taken_bytes: u64) -> f64 {
    match account.explained_bytes {
        0 => f64::from(u8::from(taken_bytes == 0)),
        explained => taken_bytes as f64 / explained as f64,
    }
}

/// What is there at the peak.
pub fn charges(what: &str, account: &ActivationAccount) -> String {
    let mut table = Table::new(&["AT THE PEAK", "TYPE", ">BYTES", ">CHARGED", "WHERE", "WHY"]);
    for charge in account.charges.iter().take(SHOWN) {
        let Charge { name, ty, bytes, charged_bytes, place, reason } = charge;
        let ty = ty.clone().unwrap_or_default();
        let (bytes, charged) = (bytes.to_string(), charged_bytes.to_string());
        table.row([name.clone(), ty, bytes, charged, place.to_string(), reason.clone()]);
    }
    let more = match account.charges.len().saturating_sub(SHOWN) {
        0 => String::new(),
        count => format!("and {count} more\n"),
    };
    format!("{what}, at `{}`:\n{}{more}", account.kernel, table.render())
}

/// Tensors and scratch memory, kernel after kernel; gaps are not in it.
pub fn curve(name: String, account: &ActivationAccount) -> Curve {
    let sum = |moment: &Moment| moment.tensors_bytes.saturating_add(moment.workspace_bytes);
    let highest = account.moments.iter().rev().max_by_key(|moment| sum(moment));
    let peak = highest.map(|moment| moment.kernel.clone()).unwrap_or_default();
    Curve { name, bytes: account.moments.iter().map(sum).collect(), peak }
}
