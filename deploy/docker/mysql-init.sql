-- The account that capture uses, with what it needs and no more.
CREATE USER 'reader'@'%' IDENTIFIED BY 'reader-secret';
GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'reader'@'%';

CREATE TABLE shop.orders (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  customer varchar(80) NOT NULL,
  amount decimal(12,2) NOT NULL,
  status enum('new','paid','sent','returned') NOT NULL DEFAULT 'new',
  created timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
);
INSERT INTO shop.orders (customer, amount) VALUES ('Ada', 12.50), ('Grace', 99.99), ('Edsger', 0.01);
