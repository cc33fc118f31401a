//! A minimal program on the current aws-sdk-s3: what Store and Get would be with it.
//!
//! `bench-aws-sdk-s3 ENDPOINT BUCKET`; then, on its standard input, a line `store FILE KEY` or `get KEY` at a time. Each is
//! answered by a line: seconds, seconds of the processor, and the peak of memory above what was there before, in kB.

use std::fs;
use std::io::BufRead;
use std::time::Instant;

use aws_sdk_s3::config::{BehaviorVersion, Region};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::Client;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, bucket] = &arguments[..] else {
        return Err("bench-aws-sdk-s3 ENDPOINT BUCKET".into());
    };
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .load()
        .await;
    let config = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
    let client = Client::from_conf(config);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let content = match words[..] {
            ["store", file, _] => fs::read(file)?,
            _ => Vec::new(),
        };
        let measure = Measure::start()?;
        let size = match words[..] {
            ["store", _, key] => {
                let size = content.len();
                client.put_object().bucket(bucket).key(key).body(ByteStream::from(content)).send().await?;
                size
            }
            ["get", key] => {
                let object = client.get_object().bucket(bucket).key(key).send().await?;
                let content = object.body.collect().await?.to_vec();
                measure.end(content.len())?;
                continue;
            }
            _ => return Err(format!("what is '{line}'?").into()),
        };
        measure.end(size)?;
    }
    Ok(())
}

struct Measure {
    start: Instant,
    processor: f64,
    memory: u64,
}

impl Measure {
    fn start() -> std::io::Result<Self> {
        fs::write("/proc/self/clear_refs", "5")?;
        Ok(Measure {
            memory: status("VmRSS:")?,
            processor: processor()?,
            start: Instant::now(),
        })
    }

    fn end(self, size: usize) -> std::io::Result<()> {
        let seconds = self.start.elapsed().as_secs_f64();
        let processor = processor()? - self.processor;
        let memory = status("VmHWM:")?.saturating_sub(self.memory);
        println!("{seconds:.6} {processor:.6} {memory} {size}");
        Ok(())
    }
}

/// A line of /proc/self/status, in kB.
fn status(name: &str) -> std::io::Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    Ok(line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default())
}

/// What the processor has spent on this process, in nanoseconds precision.
fn processor() -> std::io::Result<f64> {
    let mut nanoseconds = 0.0;
    for thread in fs::read_dir("/proc/self/task")? {
        let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|number| number.parse::<f64>().ok()).unwrap_or_default();
    }
    Ok(nanoseconds / 1e9)
}
