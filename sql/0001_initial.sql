-- The first schema. One dialect for MariaDB, MySQL and SQLite: what only the former read stands in /*! */, which is
-- a comment to the latter; SERIAL_KEY (see wire/database.py) is a key that the database counts up itself.
-- Statements can be run again: MySQL commits each one by itself, so a migration may be cut in the middle. Indexes
-- are UNIQUE constraints with the key in them: the one way to write an index inside a table that all engines read.

CREATE TABLE IF NOT EXISTS sys_info (
    timestamp DOUBLE NOT NULL,
    node_id INT NOT NULL,
    cpu_util FLOAT NOT NULL,
    mem_total INT NOT NULL,
    mem_util FLOAT NOT NULL,
    gpu_util INT NULL,
    gpu_mem_util INT NULL,
    gpu_clock INT NULL,
    gpu_power INT NULL,
    PRIMARY KEY (timestamp, node_id)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS gpu_info (
    timestamp DOUBLE NOT NULL,
    node_id INT NOT NULL,
    gpu_id INT NOT NULL,
    gpu_util INT NOT NULL,
    gpu_mem_util INT NOT NULL,
    gpu_clock INT NOT NULL,
    gpu_power INT NOT NULL,
    PRIMARY KEY (timestamp, node_id, gpu_id)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS proc_info (
    timestamp DOUBLE NOT NULL,
    session_id INT NOT NULL,
    handler_id INT NOT NULL,
    node_id INT NOT NULL,
    cpu_util FLOAT NOT NULL,
    mem_util FLOAT NOT NULL,
    gpu_util INT NULL,
    gpu_mem_util INT NULL,
    queue_size INT NOT NULL,
    frames INT NOT NULL,
    service_ms FLOAT NULL,
    PRIMARY KEY (timestamp, session_id, handler_id, node_id)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS packet_info (
    timestamp DOUBLE NOT NULL,
    session_id INT NOT NULL,
    handler_id INT NOT NULL,
    sequence BIGINT NOT NULL,
    event VARCHAR(8) NOT NULL,
    node_id INT NOT NULL,
    size INT NULL,
    PRIMARY KEY (timestamp, session_id, handler_id, sequence, event, node_id)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS link_info (
    timestamp DOUBLE NOT NULL,
    node_id INT NOT NULL,
    target_node_id INT NOT NULL,
    frames INT NOT NULL,
    bytes BIGINT NOT NULL,
    send_ms FLOAT NOT NULL,
    PRIMARY KEY (timestamp, node_id, target_node_id)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS reports (
    node_id INT NOT NULL,
    boot_id VARCHAR(64) NOT NULL,
    report_id BIGINT NOT NULL,
    received DOUBLE NOT NULL,
    PRIMARY KEY (node_id, boot_id, report_id),
    CONSTRAINT reports_by_age UNIQUE (received, node_id, boot_id, report_id)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS nodes (
    node_id INT NOT NULL,
    node_name VARCHAR(128) NOT NULL,
    boot_id VARCHAR(64) NOT NULL,
    control_url VARCHAR(512) NOT NULL,
    data_url VARCHAR(512) NOT NULL,
    heartbeat MEDIUMTEXT NOT NULL,
    last_seen DOUBLE NOT NULL,
    cordoned INT NOT NULL DEFAULT 0,
    PRIMARY KEY (node_id)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS sessions (
    session_id INT SERIAL_KEY,
    session_key VARCHAR(64) NOT NULL,
    service VARCHAR(128) NOT NULL,
    variant VARCHAR(128) NOT NULL,
    state VARCHAR(16) NOT NULL,
    epoch BIGINT NOT NULL,
    accept_from BIGINT NOT NULL,
    request MEDIUMTEXT NOT NULL,
    plan MEDIUMTEXT NOT NULL,
    created DOUBLE NOT NULL,
    updated DOUBLE NOT NULL,
    reason TEXT NULL,
    CONSTRAINT sessions_by_key UNIQUE (session_key)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS session_events (
    event_id BIGINT SERIAL_KEY,
    timestamp DOUBLE NOT NULL,
    session_id INT NOT NULL,
    event VARCHAR(32) NOT NULL,
    detail MEDIUMTEXT NOT NULL,
    CONSTRAINT session_events_by_session UNIQUE (session_id, event_id)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS leader (
    id INT NOT NULL,
    holder VARCHAR(128) NOT NULL,
    term BIGINT NOT NULL,
    lease_until DOUBLE NOT NULL,
    PRIMARY KEY (id)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS galleries (
    gallery VARCHAR(128) NOT NULL,
    label VARCHAR(128) NOT NULL,
    name VARCHAR(128) NOT NULL,
    sha256 CHAR(64) NOT NULL,
    picture LONGBLOB NOT NULL,
    created DOUBLE NOT NULL,
    PRIMARY KEY (gallery, label, name)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
