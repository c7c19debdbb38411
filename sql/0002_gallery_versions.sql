-- One row per gallery that there is or was: its version never shrinks, so that whoever holds a copy sees each change.

CREATE TABLE IF NOT EXISTS gallery_versions (
    gallery VARCHAR(128) NOT NULL,
    version BIGINT NOT NULL,
    present INT NOT NULL,
    updated DOUBLE NOT NULL,
    PRIMARY KEY (gallery)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
