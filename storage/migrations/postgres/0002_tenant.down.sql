DROP TABLE {t}.attachment, {t}.mention, {t}.read_mark, {t}.room, {t}.member, {t}.event, {t}.to_device, {t}.prekey, {t}.device, {t}.identity, {t}."user";
