CREATE TABLE customer (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  phone TEXT,
  mail TEXT,
  town TEXT,
  since TEXT NOT NULL          -- date of the first rental
);
CREATE TABLE bike (
  id TEXT PRIMARY KEY,          -- like E-014
  kind TEXT NOT NULL,           -- city, trekking, e-bike, cargo, child
  size INTEGER NOT NULL,        -- frame in cm
  bought TEXT NOT NULL,
  price REAL NOT NULL,          -- what we paid for it
  place TEXT NOT NULL,          -- shop or lake
  retired TEXT                  -- date, NULL while in use
);
CREATE TABLE rental (
  id INTEGER PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customer(id),
  bike_id TEXT NOT NULL REFERENCES bike(id),
  out_at TEXT NOT NULL,
  due_at TEXT NOT NULL,
  back_at TEXT,                 -- NULL while out
  price_per_day REAL NOT NULL,
  paid REAL NOT NULL DEFAULT 0,
  channel TEXT NOT NULL         -- desk, phone, web
);
CREATE TABLE repair (
  id INTEGER PRIMARY KEY,
  bike_id TEXT REFERENCES bike(id),   -- NULL for a customer's own bike
  customer_id INTEGER REFERENCES customer(id),
  mechanic TEXT NOT NULL,
  opened TEXT NOT NULL,
  closed TEXT,
  fault TEXT NOT NULL,
  minutes INTEGER,
  parts_cost REAL NOT NULL DEFAULT 0,
  charged REAL NOT NULL DEFAULT 0
);
CREATE TABLE part (
  number TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  supplier TEXT NOT NULL,
  unit_price REAL NOT NULL,
  in_stock INTEGER NOT NULL,
  reorder_at INTEGER NOT NULL
);
CREATE TABLE part_use (
  repair_id INTEGER NOT NULL REFERENCES repair(id),
  part_number TEXT NOT NULL REFERENCES part(number),
  count INTEGER NOT NULL
);
