//! Holds the workload to its limits as well as this machine can, and says how well that is.

use super::cgroup::Cgroup;
use crate::domain::workload::{Enforcement, LimitReport, LimitedResource, Limits};

/// What the machine offers.
pub type Offered<'a> = Result<&'a Cgroup, &'a str>;

/// Sets the limits of the group, and tells each one that was asked for with what enforces it.
pub fn apply(limits: &Limits, offered: Offered<'_>, cores: u32) -> Vec<LimitReport> {
    let cpu = by_cgroup(offered, |cgroup| &cgroup.cpu, |cgroup| cgroup.limit_cpu(limits.cpu_hundredths, cores));
    let memory = by_cgroup(offered, |cgroup| &cgroup.memory, |cgroup| cgroup.limit_memory(limits.memory_bytes));
    let report = |(resource, limit)| {
        let (enforcement, reason) = match resource {
            LimitedResource::Cpu => match &cpu {
                Ok(()) => (Enforcement::Cgroup, None),
                Err(why) => (Enforcement::None, Some(format!("not enforceable: {why}"))),
            },
            LimitedResource::Memory => match &memory {
                Ok(()) => (Enforcement::Cgroup, None),
                Err(why) => (Enforcement::Rlimit, Some(format!("of address space, for each process, from its next start: {why}"))),
            },
            LimitedResource::Disk => (Enforcement::None, Some("not enforceable: file systems know no quota of a workload".to_owned())),
            LimitedResource::Network => (Enforcement::None, Some("not enforceable: control groups do not limit the network".to_owned())),
        };
        LimitReport { resource, limit, enforcement, reason }
    };
    limits.each().map(report).collect()
}

/// The limit of each process, where no group limits them together.
pub fn memory_of_each(limits: &Limits, offered: Offered<'_>) -> Option<u64> {
    limits.memory_bytes.filter(|_| !offered.is_ok_and(|cgroup| cgroup.memory.is_ok()))
}

fn by_cgroup(
    offered: Offered<'_>,
    of: impl Fn(&Cgroup) -> &Result<(), String>,
    set: impl Fn(&Cgroup) -> std::io::Result<()>,
) -> Result<(), String> {
    let cgroup = offered.map_err(str::to_owned)?;
    of(cgroup).clone()?;
    set(cgroup).map_err(|error| format!("the kernel refuses it: {error}"))
}

/// What this agent can do here, for the node's page.
pub fn capabilities(offered: Option<Offered<'_>>) -> Vec<String> {
    let mut found = vec!["supervisor".to_owned()];
    if let Some(offered) = offered {
        let cgroup = offered.ok();
        found.extend(cgroup.filter(|cgroup| cgroup.cpu.is_ok() || cgroup.memory.is_ok()).map(|_| "cgroup2".to_owned()));
        found.extend(cgroup.filter(|cgroup| cgroup.cpu.is_ok()).map(|_| "cgroup2:cpu".to_owned()));
        let memory = cgroup.is_some_and(|cgroup| cgroup.memory.is_ok());
        found.push(if memory { "cgroup2:memory" } else { "rlimit:memory" }.to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_group_memory_is_limited_by_process_and_nothing_else_is_claimed() {
        let limits = Limits { cpu_hundredths: Some(5_000), memory_bytes: Some(1 << 30), disk_bytes: Some(1), network_kbps: Some(1) };
        let reports = apply(&limits, Err("no groups here"), 4);
        let how: Vec<_> = reports.iter().map(|report| report.enforcement).collect();
        assert_eq!(how, [Enforcement::None, Enforcement::Rlimit, Enforcement::None, Enforcement::None]);
        assert!(reports.iter().all(|report| report.reason.is_some()));
        assert!(reports[0].reason.as_ref().unwrap().contains("no groups here"));
        assert_eq!(memory_of_each(&limits, Err("no groups here")), Some(1 << 30));
        assert_eq!(apply(&Limits::default(), Err(""), 4), []);
    }

    #[test]
    fn a_group_without_a_controller_says_so() {
        let cgroup = Cgroup::for_test("/nonexistent/group".into(), Ok(()), Err("disabled".into()));
        let limits = Limits { cpu_hundredths: Some(5_000), memory_bytes: Some(5), ..Limits::default() };
        let reports = apply(&limits, Ok(&cgroup), 4);
        assert_eq!((reports[0].enforcement, reports[1].enforcement), (Enforcement::None, Enforcement::Rlimit));
        assert!(reports[0].reason.as_ref().unwrap().contains("refuses"), "{reports:?}");
        assert_eq!(memory_of_each(&limits, Ok(&cgroup)), Some(5));
        assert_eq!(capabilities(Some(Ok(&cgroup))), ["supervisor", "cgroup2", "cgroup2:cpu", "rlimit:memory"]);
        assert_eq!(capabilities(None), ["supervisor"]);
    }
}
