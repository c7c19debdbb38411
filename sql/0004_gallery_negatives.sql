-- Pictures of others who are taken for a person of a gallery and are not: "this is not X". They go with the label.

CREATE TABLE IF NOT EXISTS gallery_negatives (
    gallery VARCHAR(128) NOT NULL,
    label VARCHAR(128) NOT NULL,
    name VARCHAR(128) NOT NULL,
    sha256 CHAR(64) NOT NULL,
    picture LONGBLOB NOT NULL,
    created DOUBLE NOT NULL,
    PRIMARY KEY (gallery, label, name)
) /*! ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
