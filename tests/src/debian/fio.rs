//! What fio and stress-ng check in a guest: that what was written is what is read, and that processors,
//! memory and files do as they should. A slice of it is for the gate, the whole takes half an hour.

use anyhow::{Context, Result, ensure};
use std::fmt::Write as _;

/// Of fio's terse output (fio(1), "Terse output"): error, KiB read, KiB written.
const TERSE: &str = "5,6,47";

/// One of fio's jobs: it writes the volume's first bytes and then reads and verifies them all.
struct Job {
    /// fio's `rw`: the order of writes.
    order: &'static str,
    /// fio's `ioengine`.
    engine: &'static str,
    /// Requests on their way at a time.
    depth: u32,
    /// Bytes of a request, as fio writes them.
    block: &'static str,
    /// fio's `verify`: what goes with every block.
    digest: &'static str,
}

/// Everything that a guest goes through.
pub struct Proof {
    jobs: Vec<Job>,
    /// MiB that a job writes.
    mib: u64,
    /// stress-ng's arguments, run after run, with a name for each.
    stress: &'static [(&'static str, &'static str)],
}

/// Few operations of each class's best known.
const STRESS_SLICE: &[(&str, &str)] = &[
    ("cpu", "--cpu 2 --cpu-ops 100"),
    ("vm", "--vm 2 --vm-bytes 32M --vm-ops 100000"),
    ("io", "--io 2 --io-ops 500 --hdd 1 --hdd-bytes 8M --hdd-ops 200"),
];
/// Everything that stress-ng has in a class, one after the other. A guest has no swap and its root is in
/// RAM, so who asks for all the memory there is gets his share of it.
const STRESS_WHOLE: &[(&str, &str)] = &[
    ("cpu", "--class cpu --sequential 2 --timeout 5"),
    ("vm", "--class vm --sequential 2 --timeout 5 --vm-bytes 64M --oomable"),
    ("io", "--class io --sequential 2 --timeout 5 --hdd-bytes 16M"),
];

impl Proof {
    /// A minute or two of it.
    pub fn slice() -> Self {
        let job = |order, engine, depth, block, digest| Job { order, engine, depth, block, digest };
        let jobs = vec![
            job("write", "psync", 1, "1m", "crc32c"),
            job("randwrite", "psync", 1, "4k", "sha256"),
            job("randwrite", "libaio", 32, "4k", "crc32c"),
            job("write", "io_uring", 8, "64k", "md5"),
            job("randwrite", "io_uring", 32, "16k", "sha512"),
        ];
        Self { jobs, mib: 16, stress: STRESS_SLICE }
    }

    /// All of it.
    pub fn whole() -> Self {
        const WAYS: [(&str, u32); 7] = [
            ("psync", 1),
            ("libaio", 1),
            ("libaio", 16),
            ("libaio", 128),
            ("io_uring", 1),
            ("io_uring", 16),
            ("io_uring", 128),
        ];
        const DIGESTS: [&str; 11] = [
            "md5", "crc7", "crc16", "crc32", "crc32c", "crc64", "xxhash", "sha1", "sha256", "sha512",
            "sha3-256",
        ];
        let mut jobs = Vec::new();
        for (engine, depth) in WAYS {
            for (number, digest) in DIGESTS.into_iter().enumerate() {
                let block = ["4k", "16k", "64k", "1m"][number % 4];
                for order in ["write", "randwrite"] {
                    jobs.push(Job { order, engine, depth, block, digest });
                }
            }
        }
        Self { jobs, mib: 32, stress: STRESS_WHOLE }
    }

    /// The errand that goes through it, on the disk `volume`. It reports `fio` and `stress` for what was
    /// checked, and `wrong` for what was found.
    pub fn errand(&self, volume: &str) -> String {
        let mut script = format!(
            "verify() {{ figures=$(fio --name=proof --filename={volume} --size={}M --direct=1 --rw=$1 \
             --ioengine=$2 --iodepth=$3 --bs=$4 --verify=$5 --verify_fatal=1 --minimal 2>/run/words) ||\n\
             tell wrong fio $* $(tail -n 1 /run/words)\n\
             tell fio $* $(echo \"$figures\" | cut -d ';' -f {TERSE} | tr ';' ' '); }}\n\
             stress() {{ class=$1; shift; stress-ng --verify --temp-path /mnt \"$@\" >/run/words 2>&1 ||\n\
             {{ tell wrong stress $class $?; grep -E 'fail|error' /run/words | tail -n 5; }}\n\
             tell stress $class; }}\n",
            self.mib
        );
        for Job { order, engine, depth, block, digest } in &self.jobs {
            let _ = writeln!(script, "verify {order} {engine} {depth} {block} {digest}");
        }
        let _ = writeln!(script, "mkfs.ext4 -q -F {volume} && mount {volume} /mnt || tell wrong mount");
        for (class, arguments) in self.stress {
            let _ = writeln!(script, "stress {class} {arguments}");
        }
        script.push_str("umount /mnt || tell wrong umount\n");
        script
    }

    /// The word of every report that a guest makes on its way when nothing is wrong, in their order.
    pub fn steps(&self) -> impl Iterator<Item = &'static str> {
        let (jobs, classes) = (self.jobs.iter().map(|_| "fio"), self.stress.iter().map(|_| "stress"));
        jobs.chain(classes)
    }

    /// Checks what a guest has reported, without the words `errand:`: all jobs verified all that they
    /// wrote, and nothing was wrong.
    ///
    /// # Errors
    /// What was.
    pub fn judge(&self, reports: &[String]) -> Result<()> {
        let wrong: Vec<&String> = reports.iter().filter(|line| line.starts_with("wrong")).collect();
        ensure!(wrong.is_empty(), "the guest found {wrong:#?}");
        let mut verified = reports.iter().filter_map(|line| line.strip_prefix("fio "));
        for Job { order, engine, depth, block, digest } in &self.jobs {
            let job = format!("{order} {engine} {depth} {block} {digest}");
            let report = verified.next().with_context(|| format!("fio's job {job} was not run"))?;
            let kib = self.mib << 10;
            let wanted = format!("{job} 0 {kib} {kib}");
            ensure!(report == wanted, "fio reports {report:?}, not {wanted:?}: error, KiB read, KiB written");
        }
        for (class, _) in self.stress {
            let done = format!("stress {class}");
            ensure!(reports.contains(&done), "stress-ng's class {class} was not run");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(proof: &Proof) -> Vec<String> {
        let fio = proof.jobs.iter().map(|Job { order, engine, depth, block, digest }| {
            format!("fio {order} {engine} {depth} {block} {digest} 0 {0} {0}", proof.mib << 10)
        });
        fio.chain(proof.stress.iter().map(|(class, _)| format!("stress {class}"))).collect()
    }

    #[test]
    fn a_guest_must_have_verified_everything() {
        let proof = Proof::slice();
        let good = reports(&proof);
        assert!(proof.judge(&good).is_ok());
        for missing in 0..good.len() {
            let mut fewer = good.clone();
            fewer.remove(missing);
            assert!(proof.judge(&fewer).is_err(), "without {:?}", good[missing]);
        }
        let mut less = good.clone();
        less[0] = less[0].replace(" 16384 16384", " 0 16384");
        assert!(proof.judge(&less).is_err(), "nothing read");
        let more = [good, vec!["wrong umount".to_owned()]].concat();
        assert!(proof.judge(&more).is_err(), "something wrong");
    }
}
