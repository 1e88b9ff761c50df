//! Which partition a key belongs to: Kafka's default partitioner, so that every client of a topic,
//! ours or Kafka's, puts the same key into the same partition.

/// The partition of `key` in a topic of `partitions` partitions, `0..partitions`.
///
/// A topic has at least one partition; a smaller number counts as one.
#[must_use]
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    ((murmur2(key) & 0x7fff_ffff) % partitions.max(1) as u32) as i32
}

/// Murmur2 with Kafka's seed, 32 bit.
fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    let mut hash = SEED ^ key.len() as u32;
    let (words, tail) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (at, &byte) in tail.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Kafka's `UtilsTest.testMurmur2`.
    const PUBLISHED: [(&str, i32); 6] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        ),
        ("abc", 479_470_107),
    ];

    #[test]
    fn hashes_equal_those_kafka_publishes() {
        for (key, hash) in PUBLISHED {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn partitions_equal_kafkas_to_positive_modulo() {
        for (key, hash) in PUBLISHED {
            for partitions in [1, 2, 3, 7, 4096, i32::MAX] {
                let expected = (hash & 0x7fff_ffff) % partitions;
                assert_eq!(
                    partition_for_key(key.as_bytes(), partitions),
                    expected,
                    "{key}"
                );
            }
        }
        assert_eq!(partition_for_key(b"any", 0), 0);
        assert_eq!(partition_for_key(b"any", -4), 0);
    }
}
