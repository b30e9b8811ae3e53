-- Rows {from} to {to} of the shop, both included, one statement a table; the live writer places its orders with them too.
-- A row is a function of its number: CRC32 of the number and a letter is as good as chance, and the same in each run.
INSERT INTO customers WITH RECURSIVE numbers AS (SELECT {from} AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < {to})
SELECT n, UNHEX(LEFT(SHA2(n, 256), 32)),
  CONCAT(ELT(1 + CRC32(CONCAT(n, 'f')) % 8, 'Amélie', 'Björn', 'Chen', 'Fatima', 'Håkon', 'Keiko', 'Łukasz', 'Zoë'), ' ',
    ELT(1 + CRC32(CONCAT(n, 'l')) % 8, 'Brückner', 'Dubois', 'García', 'Ivanova', 'O''Neil', 'Šimić', 'Tanaka', '王')),
  IF(n % 3, CONCAT('🐝 ', n), NULL), CONCAT('customer', n, '@mail.example'),
  CONCAT(ELT(1 + n % 4, 'Königstraße', 'Rue de l''Été', 'Via Libertà', 'Harbour Road'), ' ', n % 200),
  ELT(1 + CRC32(n) % 6, 'Berlin', 'Kraków', 'Málaga', 'Αθήνα', '東京', '杭州'), ELT(1 + CRC32(n) % 6, 'DE', 'PL', 'ES', 'GR', 'JP', 'CN'),
  1 + CRC32(CONCAT(n, 'e')) % 3, CRC32(CONCAT(n, 'i')) % 64, DATE '1940-01-01' + INTERVAL CRC32(CONCAT(n, 'b')) % 25000 DAY,
  1 + n % 7, CRC32(CONCAT(n, 'c')) % 900, CRC32(CONCAT(n, 'y')) % 20000, CRC32(CONCAT(n, 'v')) % 100000, n % 2,
  IF(n % 8, UNHEX(SHA2(n, 256)), NULL),
  JSON_OBJECT('theme', ELT(1 + n % 3, 'dark', 'light', 'système'), 'sizes', JSON_ARRAY(34 + n % 14, 1.5), 'mail', NULL),
  TIMESTAMP '2015-01-01 00:00:00' + INTERVAL CRC32(n) % 300000000 SECOND
FROM numbers;
INSERT INTO products WITH RECURSIVE numbers AS (SELECT {from} AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < {to})
SELECT CONCAT('SKU-', n),
  CONCAT(ELT(1 + CRC32(CONCAT(n, 'q')) % 4, 'light', 'sturdy', 'small', 'élégant'), ' ', ELT(1 + CRC32(CONCAT(n, 't')) % 6, 'lamp', 'chair', 'kettle', 'guitar', 'tent', '茶壶')),
  REPEAT('As good as it looks. ', CRC32(n) % 6), 1 + CRC32(CONCAT(n, 'c')) % 6, 1 + CRC32(CONCAT(n, 'p')) % 50000 / 100,
  IF(n % 7, CRC32(n) / 7, NULL), CRC32(n) % 100, CRC32(CONCAT(n, 's')) % 5000, CRC32(CONCAT(n, 'o')) % 90000, 1 + n % 12,
  CRC32(n) / 1e8, IF(n % 9, CRC32(n) / 1e9, NULL), CRC32(n) % 256, CRC32(n) * 4294967295, 1990 + n % 36, SEC_TO_TIME(CRC32(n) % 144000),
  IF(n % 4, REPEAT(UNHEX(SHA2(n, 256)), n % 4), NULL),
  JSON_OBJECT('cm', JSON_ARRAY(n % 300, 0.5), 'colour', ELT(1 + n % 3, 'rouge', 'green 🌿', 'black'), 'views', 0),
  TIMESTAMP '2024-01-01 00:00:00' + INTERVAL n * 471234 MICROSECOND
FROM numbers;
INSERT INTO order_lines WITH RECURSIVE numbers AS (SELECT {from} AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < {to})
SELECT n, line, CONCAT('SKU-', 4 + CRC32(CONCAT(n, line)) % 9000), 1 + CRC32(CONCAT(n, 'q', line)) % 5, 1 + CRC32(CONCAT(n, 'p', line)) % 50000 / 100,
  n % 10 = 0, IF((n + line) % 3, NULL, 'für Zoë ♥')
FROM numbers JOIN (SELECT 1 AS line UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4) l ON line <= 1 + CRC32(n) % 4;
INSERT INTO orders (id, customer_id, status, options, total, currency, note, client_address, partner_reference, placed_at, promised_for)
WITH RECURSIVE numbers AS (SELECT {from} AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < {to})
SELECT n, 4 + CRC32(CONCAT(n, 'c')) % 9000, 1 + CRC32(CONCAT(n, 's')) % 6, IF(n % 4, CRC32(n) % 16, NULL),
  (SELECT SUM(quantity * unit_price) FROM order_lines WHERE order_id = n), ELT(1 + n % 3, 'EUR', 'CHF', 'JPY'),
  ELT(n % 5, 'ring twice', 'mind the dog 🐕', '请放在门口'), UNHEX(LEFT(SHA2(n, 256), 8)), CRC32(n) * 1000003,
  TIMESTAMP '2024-01-01 00:00:00' + INTERVAL n * 471234567 MICROSECOND, DATE '2024-01-02' + INTERVAL n DIV 183 DAY
FROM numbers;
INSERT INTO payments WITH RECURSIVE numbers AS (SELECT {from} AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < {to})
SELECT 9300000000000000000 + n, n, 1 + CRC32(CONCAT(n, 'm')) % 4, (SELECT total FROM orders WHERE id = n), 0.5 + CRC32(n) / 4294967296,
  IF(n % 3, LPAD(CRC32(n) % 10000, 4, '0'), NULL), IF(n % 2, JSON_OBJECT('ok', TRUE, 'code', n % 100, 'ms', CRC32(n) / 1e7), NULL),
  IF(n % 3, UNHEX(SHA2(n, 256)), NULL), TIMESTAMP '2024-01-01 00:05:00' + INTERVAL n * 471234567 MICROSECOND, DATE '2024-01-01' + INTERVAL n DIV 183 DAY
FROM numbers;
